"""Relations between classes estimated from labels, for label sets without a table of groups.

A light belongs to its pole and a rider to the bicycle: such classes touch, or one stands on the other, far more often
than by chance. The chance model draws the neighbour of every piece of outline by the class frequencies **at that
place**: a background class (sky, road, building) is a frequent neighbour because it is frequent there, which is no
relation.
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
    """(G, C, C) long: pixels where `first` is class i and `second` class j."""
    pair = (first != second) & (first < num_classes) & (second < num_classes)
    index = (place[pair] * num_classes + first[pair]) * num_classes + second[pair]
    return index.bincount(minlength=(GRID * num_classes)**2).view(-1, num_classes, num_classes)


def all_contacts(above: Tensor, beside: Tensor) -> Tensor:
    """(G, C, C), symmetric: contacts in any of the four directions."""
    both = above + beside
    return both + both.transpose(1, 2)


def lift(area: Tensor, contacts: Tensor) -> Tensor:
    """The frequency of each pair of classes relative to that expected by chance.

    The expected number follows from class i's outline and the other classes' frequencies along it, or vice versa from
    class j's outline; the geometric mean of the two is used.

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
    """(G, C) double: the shares of the classes at each place and its eight neighbours.

    The neighbours count because the two sides of a contact may lie in different places.
    """
    maps = area.double().T.reshape(1, -1, GRID, GRID)
    around = F.avg_pool2d(maps, 3, stride=1, padding=1).flatten(2)[0].T
    return around / around.sum(1, keepdim=True).clamp_min(1e-12)


def relation_strength(area: Tensor, above: Tensor, beside: Tensor) -> Tensor:
    """(C, C), symmetric: the larger of the lifts of touching and of standing on each other; 1 is chance.

    The latter matters for thin objects: only a pixel or two of a light's outline touch its pole, but most of what
    lights stand on are poles. Arguments are those of :func:`count_contacts`, summed over the images.
    """
    stands = lift(area, above)
    touches = lift(area, all_contacts(above, beside))
    return touches.maximum(stands).maximum(stands.T)


def auto_relations(area: Tensor, above: Tensor, beside: Tensor, touching: Tensor, together: Tensor,
                   min_lift: float = 6.0, min_share: float = 0.75, min_images: int = 10) -> Tensor:
    """(C, C) bool, symmetric: classes that touch, or stand on each other, far more often than by chance.

    They hold between two classes; `context.close_over` makes groups of them: light - pole and pole - sign bring the
    light to the sign. A false relation therefore costs more than a missing one, and the defaults are strict.

    Args:
        area, above, beside: of :func:`count_contacts`, summed over the images.
        touching: (C, C) number of images in which the two classes touch.
        together: (C, C) number of images with both classes.
        min_lift: least :func:`relation_strength`.
        min_share: least share of the images with both classes in which the two touch; it excludes a rare class that
            happened to be in front of another.
        min_images: least number of images with both classes.
    """
    usual = (touching >= min_share * together) & (together >= min_images)
    related = (relation_strength(area, above, beside) >= min_lift) & usual
    return related & ~torch.eye(len(related), dtype=torch.bool, device=related.device)


def compare_relations(estimate: Tensor, reference: Tensor,
                      class_names: Sequence[str]) -> dict[str, float | int | list[str]]:
    """Precision and recall of unordered pairs, their numbers in both, and those missing and extra as 'a - b'.

    Both relations are (C, C) bool, symmetric. A share is nan where its divisor is 0.
    """
    pairs = torch.ones_like(estimate).triu(1)
    both = int((estimate & reference & pairs).sum())
    estimated, expected = int((estimate & pairs).sum()), int((reference & pairs).sum())
    return dict(precision=both / estimated if estimated else float('nan'),
                recall=both / expected if expected else float('nan'), estimated=estimated, reference=expected,
                missing=pair_names(reference & ~estimate, class_names),
                extra=pair_names(estimate & ~reference, class_names))


def pair_names(relations: Tensor, class_names: Sequence[str]) -> list[str]:
    """The pairs above the diagonal of (C, C) bool, as 'a - b'."""
    return [f'{class_names[i]} - {class_names[j]}' for i, j in relations.triu(1).nonzero().tolist()]
