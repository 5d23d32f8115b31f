"""Relations between classes, and the contextual mask (CAMix, Table I, Algorithm 1, Eq. 1)."""
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .masks import choose_half, class_region, present_classes

# All members of a sequence pull each other; of a mapping, keys pull their values.
Group = Sequence[str] | Mapping[str, Sequence[str]]

META_GROUPS: dict[str, Group] = {
    'I': ('pole', 'traffic light', 'traffic sign'),
    'II': ('rider', 'motorcycle', 'bicycle'),
    'III': ('road', 'sidewalk'),
    'IV': ('building', 'wall', 'fence'),
    'V': ('vegetation', 'terrain'),
    # As in the released code: a rider pulls the bikes, a bike does not pull its rider.
    'II-one-way': {'rider': ('motorcycle', 'bicycle')},
}


def relation_matrix(groups: Sequence[str | Group], class_names: Sequence[str]) -> Tensor:
    """(C, C) bool: [i, j] is True where choosing class i adds class j; the diagonal is False.

    Args:
        groups: each a name of :data:`META_GROUPS` (members that the label set lacks are left out), a tuple of class
            names (all pull each other), or a mapping from a class to the classes that it pulls: ``['I', ('car',
            'truck'), {'rider': ('bicycle',)}]``.
        class_names: the label set, in the order of its train ids.
    """
    if isinstance(groups, (str, Mapping)):
        raise TypeError(f'groups must be a list of groups, got {groups!r}; write [{groups!r}]')
    index = {name: i for i, name in enumerate(class_names)}
    matrix = torch.zeros(len(index), len(index), dtype=torch.bool)
    for group in groups:
        for puller, pulled in _pairs(group, index):
            matrix[index[puller], index[pulled]] = True
    return matrix


def _pairs(group: str | Group, index: Mapping[str, int]) -> list[tuple[str, str]]:
    """The (puller, pulled) pairs of one group within the label set."""
    members = group
    if isinstance(group, str):
        if group not in META_GROUPS:
            raise ValueError(f"there is no meta-class group '{group}'; available: {', '.join(META_GROUPS)}, or a "
                             'tuple of class names')
        members = META_GROUPS[group]
    if not isinstance(members, Mapping):
        members = {puller: members for puller in members}
    if any(isinstance(others, str) for others in members.values()):
        raise TypeError(f"group {group!r}: what a class pulls must be a list of classes, such as "
                        "{'rider': ['bicycle']}")
    unknown = sorted(set(members).union(*members.values()) - set(index))
    if unknown and not isinstance(group, str):
        raise ValueError(f'group {group!r} names classes that the label set lacks: {unknown}; available: {list(index)}')
    return [(puller, pulled) for puller, others in members.items() for pulled in others
            if puller != pulled and puller in index and pulled in index]


def close_over(chosen: Tensor, present: Tensor, relations: Tensor) -> Tensor:
    """Add the present relatives of the chosen classes, both (B, C) bool (Algorithm 1, lines 5 to 12).

    The algorithm appends to the list that it iterates over, so that appended classes add their relatives, too: the
    result is the transitive closure. For disjoint groups, as in Table I, a single round gives the same; for overlapping
    relations it does not. Chains do not pass through absent classes.
    """
    num_classes = chosen.shape[1]
    if relations.shape != (num_classes, num_classes):
        raise ValueError(f'{num_classes} classes need a relation matrix of ({num_classes}, {num_classes}), got '
                         f'{tuple(relations.shape)}')
    identity = torch.eye(num_classes, dtype=torch.bool, device=chosen.device)
    reach = ((relations & present[:, None, :]) | identity).float()
    # Each squaring doubles the length of the chains covered; the longest has C - 1 links.
    for _ in range((num_classes - 1).bit_length()):
        reach = (reach @ reach).clamp_max(1)
    return (chosen[:, None, :].float() @ reach)[:, 0] > 0


def modulate(probs: Tensor, prior: Tensor, below: float | None = None) -> Tensor:
    """(B, H, W) arg-max of the prediction, (B, C, H, W), times the spatial prior (Algorithm 1, lines 1 and 2).

    The prior is (B, C, H, W), or (C, H, W) for all samples. With `below`, it acts only where the largest probability is
    below this.
    """
    if prior.shape[-3:] != probs.shape[-3:]:
        raise ValueError(f'the prior {tuple(prior.shape)} does not fit the prediction {tuple(probs.shape)}; crop_prior '
                         'brings it to the right size')
    label = most_likely(probs.float() * prior)
    if below is None:
        return label
    confidence, own = probs.max(1)
    return torch.where(confidence < below, label, own)


def most_likely(scores: Tensor) -> Tensor:
    """(B, H, W) long arg-max over the classes of (B, C, H, W); of equal scores the first."""
    return scores.max(1).indices  # on a CPU 2.4 times as fast as argmax


def contextual_mask(probs: Tensor, prior: Tensor | None, relations: Tensor | None,
                    generator: torch.Generator | None = None, ratio: float = 0.5, agreeing: bool = False,
                    valid: Tensor | None = None, below: float | None = None,
                    draw: str = 'modulated') -> tuple[Tensor, Tensor]:
    """The region of half of the classes present and their relatives (Algorithm 1, Eq. 1).

    Args:
        probs: the teacher's prediction on the target, (B, C, H, W) any float type.
        prior: Q, as :func:`modulate` takes it; None uses the arg-max of `probs`.
        relations: (C, C) bool; None adds no relatives.
        ratio: share of the classes present that is chosen.
        agreeing: leave out pixels where the prior overruled the prediction.
        valid: (B, H, W) bool, False on padding; None if there is none.
        below: as :func:`modulate` takes it.
        draw: which classes count as present: those of the 'modulated' prediction, or of the 'own' one, without prior.

    Returns:
        the mask (B, 1, H, W) bool, and the label that it was cut from, (B, H, W) long, 255 on padding.
    """
    own = most_likely(probs)
    label = own if prior is None else modulate(probs, prior, below)
    if valid is not None:
        label, own = label.masked_fill(~valid, 255), own.masked_fill(~valid, 255)
    present = present_classes(label if draw == 'modulated' else own, probs.shape[1])
    chosen = choose_half(present, generator, ratio)
    if relations is not None:
        chosen = close_over(chosen, present, relations)
    mask = class_region(label, chosen)
    if agreeing:
        mask = mask & (label == own)[:, None]
    return mask, label
