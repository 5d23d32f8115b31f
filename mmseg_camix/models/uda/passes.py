"""Which views go through the student, and which of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from ..step import StudentPass


def views_seen(objectives: Iterable) -> dict[str, bool]:
    """View -> whether the student's head is needed on it; each is seen once."""
    seen: dict[str, bool] = {}
    for objective in objectives:
        for name in objective.reads:
            seen[name] = seen.get(name, False) or objective.needs_logits
    return seen


def grouped(seen: dict[str, bool], joint: Sequence[Sequence[str]]) -> list[tuple[tuple[str, ...], bool]]:
    """(views of one pass, whether the head is needed on one of them); views in no group pass alone."""
    group_of = {name: tuple(other for other in group if other in seen) for group in joint for name in group}
    groups = dict.fromkeys(group_of.get(name, (name,)) for name in seen)
    return [(names, any(seen[name] for name in names)) for names in groups]


def split(joint: StudentPass, sizes: Sequence[int]) -> list[StudentPass]:
    """One pass on several concatenated batches -> the pass of each."""
    if len(sizes) == 1:
        return [joint]
    features = _split(joint.features, sizes)
    logits = [None] * len(sizes) if joint.logits is None else joint.logits.split(list(sizes))
    return [StudentPass(*one) for one in zip(features, logits)]


def _split(value: object, sizes: Sequence[int]) -> list:
    if isinstance(value, Tensor):
        if len(value) != sum(sizes):
            raise ValueError(f'a feature map of shape {tuple(value.shape)} cannot be split into batches of '
                             f'{list(sizes)} images; give the model joint_views=()')
        return list(value.split(list(sizes)))
    if isinstance(value, (tuple, list)):
        return [type(value)(parts) for parts in zip(*(_split(one, sizes) for one in value))]
    raise TypeError(f'features of type {type(value).__name__} cannot be split into views; '
                    'give the model joint_views=()')
