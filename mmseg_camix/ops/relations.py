"""Which classes belong together, from labels alone: for label sets without a table of groups.

A light belongs to its pole and a rider to the bicycle: such classes touch, or one stands on the
other, far more often than chance would have it. Chance, here, draws the neighbour of every piece of
outline by the frequencies of the classes **at that place**: what lies behind everything (sky, road,
building) is a frequent neighbour because it is frequent there, which is no relation.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Places are the cells of a grid of GRID x GRID over the image, G of them.
GRID = 16


def count_contacts(label: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Count, for each place, the pixels of each class and the contacts of different classes.

    Args:
        label: (H, W) integer; values of num_classes and more (255) are void and touch nothing.
        num_classes: C.

    Returns:
        area: (G, C) long: pixels of each class.
        above: (G, C, C) long: pixels of class i directly on top of a pixel of class j.
        beside: (G, C, C) long: pixels of class i directly to the left of a pixel of class j.
    """
    rows = torch.arange(label.shape[0]) * GRID // label.shape[0]
    columns = torch.arange(label.shape[1]) * GRID // label.shape[1]
    place = rows[:, None] * GRID + columns
    inside = label < num_classes
    area = (place[inside] * num_classes + label[inside]).bincount(minlength=GRID**2 * num_classes)
    above = _count_pairs(label[:-1], label[1:], place[:-1], num_classes)
    beside = _count_pairs(label[:, :-1], label[:, 1:], place[:, :-1], num_classes)
    return area.view(-1, num_classes), above, beside


def _count_pairs(first: Tensor, second: Tensor, place: Tensor, num_classes: int) -> Tensor:
    """(G, C, C) long: how often a pixel of class i in one stands where class j is in the other."""
    pair = (first != second) & (first < num_classes) & (second < num_classes)
    index = (place[pair] * num_classes + first[pair]) * num_classes + second[pair]
    return index.bincount(minlength=(GRID * num_classes)**2).view(-1, num_classes, num_classes)


def all_contacts(above: Tensor, beside: Tensor) -> Tensor:
    """(G, C, C), symmetric: contacts in any of the four directions."""
    both = above + beside
    return both + both.transpose(1, 2)


def lift(area: Tensor, contacts: Tensor) -> Tensor:
    """How many times more often each pair occurs than the frequencies of the classes imply.

    The expected number comes from class i's outline and the other classes' frequencies where it
    runs, or the other way round from class j's outline; their geometric mean is taken.

    Args:
        area: (G, C) of :func:`count_contacts`, summed over the images.
        contacts: (G, C, C) likewise: ``above``, or :func:`all_contacts`.

    Returns:
        (C, C) double; 1 is chance, 0 where nothing was counted.
    """
    contacts, share = contacts.double(), _frequencies(area)
    others = (1 - share).clamp_min(1e-12)
    by_first = (contacts.sum(2) / others).T @ share
    by_second = ((contacts.sum(1) / others).T @ share).T
    expected = (by_first * by_second).sqrt()
    observed = contacts.sum(0)
    return torch.where(observed > 0, observed / expected, 0.0)


def _frequencies(area: Tensor) -> Tensor:
    """(G, C) double: the shares of the classes at each place and the eight around it.

    The two sides of a contact may lie in two places, so one place alone does not know both.
    """
    maps = area.double().T.reshape(1, -1, GRID, GRID)
    around = F.avg_pool2d(maps, 3, stride=1, padding=1).flatten(2)[0].T
    return around / around.sum(1, keepdim=True).clamp_min(1e-12)


def relation_strength(area: Tensor, above: Tensor, beside: Tensor) -> Tensor:
    """The lift of touching or of standing on the other, whichever is larger.

    Thin things reveal themselves by the latter only: of a light's outline no more than a pixel or
    two belong to its pole, but most of what lights stand on are poles.

    Args:
        area, above, beside: of :func:`count_contacts`, summed over the images.

    Returns:
        (C, C) double, symmetric; 1 is chance.
    """
    stands = lift(area, above)
    touches = lift(area, all_contacts(above, beside))
    return touches.maximum(stands).maximum(stands.T)


def auto_relations(area: Tensor, above: Tensor, beside: Tensor, touching: Tensor, together: Tensor,
                   min_lift: float = 6.0, min_share: float = 0.75, min_images: int = 10) -> Tensor:
    """Relations between classes: those that touch, or stand on each other, far beyond chance.

    They hold between two classes; `context.close_over` makes groups of them: light - pole and
    pole - sign bring the light to the sign. So a false relation costs more than a missing one, and
    the defaults are strict.

    Args:
        area, above, beside: of :func:`count_contacts`, summed over the images.
        touching: (C, C) images in which the two classes touch.
        together: (C, C) images that show both.
        min_lift: :func:`relation_strength` must reach this,
        min_share: and the two must touch in this share of the images that show both, lest one
            rare class that happened to be in front of another counts,
        min_images: of which there must be as many.

    Returns:
        (C, C) bool, symmetric, False on the diagonal.
    """
    usual = (touching >= min_share * together) & (together >= min_images)
    related = (relation_strength(area, above, beside) >= min_lift) & usual
    return related & ~torch.eye(len(related), dtype=torch.bool, device=related.device)


def compare_relations(found: Tensor, reference: Tensor,
                      class_names: Sequence[str]) -> dict[str, float | int | list[str]]:
    """Precision and recall of unordered pairs, and which pairs make the difference.

    Args:
        found: (C, C) bool, symmetric.
        reference: (C, C) bool, symmetric.

    Returns:
        precision and recall (nan where there is nothing to divide by), the number of pairs found
        and in the reference, and the pairs that are missing and extra as 'a - b'.
    """
    pairs = torch.ones_like(found).triu(1)
    both = int((found & reference & pairs).sum())
    n_found, n_reference = int((found & pairs).sum()), int((reference & pairs).sum())
    return dict(
        precision=both / n_found if n_found else float('nan'),
        recall=both / n_reference if n_reference else float('nan'),
        found=n_found,
        reference=n_reference,
        missing=pair_names(reference & ~found, class_names),
        extra=pair_names(found & ~reference, class_names))


def pair_names(relations: Tensor, class_names: Sequence[str]) -> list[str]:
    """The pairs above the diagonal of (C, C) bool, as 'a - b'."""
    return [f'{class_names[i]} - {class_names[j]}' for i, j in relations.triu(1).nonzero().tolist()]
