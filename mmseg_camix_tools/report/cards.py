"""Target images as the report shows them: which ones, before and after, with notes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmseg_camix.datasets.base import spread_indices

from .examine import Examination, Network, View
from .pictures import heat, segmentation, thumb, webp

TEXTS = dict(
    spread=('Evenly spread', 'A sample of the target images, whatever their quality.'),
    changed=('Most changed', 'The largest share of pixels that adaptation gave another class.'),
    uncertain=('Most uncertain', 'The highest mean entropy of the adapted network. These are worth labelling first.'))
Card = dict[str, Any]


def groups_of(examination: Examination, networks: Sequence[Network], count: int) -> list[tuple[str, str, list[Card]]]:
    """(title, explanation, cards) of the images to show; each image is in one group.

    Args:
        examination: of the images.
        networks: the first is the one before adaptation, the last the one after it.
        count: number of images to show; a quarter of them for the most changed, and for the most uncertain.
    """
    views, few = examination.views, count // 4
    ranked = dict(changed=sorted(views, key=lambda view: -view.changed),
                  uncertain=sorted(views, key=lambda view: -view.uncertainty))
    chosen: dict[str, list[View]] = {}
    taken: set[int] = set()
    for key, ranking in ranked.items():
        first = ranking[:few] if key == 'uncertain' or len(networks) > 1 else []
        chosen[key] = [view for view in first if id(view) not in taken]
        taken |= {id(view) for view in first}
    rest = [view for view in views if id(view) not in taken]
    chosen['spread'] = [rest[index] for index in spread_indices(len(rest), max(1, count - len(taken)))]
    ranks = {key: {id(view): rank for rank, view in enumerate(ranking, 1)} for key, ranking in ranked.items()}
    return [(*TEXTS[key], [card(view, examination, networks) | {f'{name}_rank': rank[id(view)]
                                                               for name, rank in ranks.items()}
                           for view in chosen[key]]) for key in TEXTS if chosen[key]]


def card(view: View, examination: Examination, networks: Sequence[Network]) -> Card:
    """Pictures and numbers of an image; where there is one network, its photograph takes the place of the other."""
    classes, palette = examination.classes, examination.palette
    first, last = networks[0].title, networks[-1].title

    def labelled(label: np.ndarray, names: bool = False) -> np.ndarray:
        return segmentation(view.picture, label, classes, palette, names)

    sides = [(title, webp(labelled(view.labels[title], True)),
              f'{view.name} labelled by {title}: {_composition(view.labels[title], classes)}')
             for title in dict.fromkeys((first, last))]
    thumbs = [('photograph', thumb(view.picture))]
    if len(sides) == 1:
        sides.insert(0, ('photograph', webp(view.picture), f'{view.name}, the photograph'))
        thumbs = []
    if view.truth is not None:
        thumbs.append(('ground truth', thumb(labelled(view.truth))))
    thumbs += [(network.title, thumb(labelled(view.labels[network.title]))) for network in networks[1:-1]]
    thumbs.append(('uncertainty', heat(view.entropy)))
    return dict(name=view.name, sides=sides, thumbs=thumbs, changed=view.changed, uncertainty=view.uncertainty,
                changes=_changes(view.labels[first], view.labels[last], classes))


def typical(groups: Sequence[tuple[str, str, list[Card]]]) -> Card | None:
    """The shown image whose share of changed pixels is the median."""
    cards = sorted((card for _, _, group in groups for card in group), key=lambda card: card['changed'])
    return cards[len(cards) // 2] if cards else None


def _shares(label: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    return np.bincount(label.ravel(), minlength=256)[:len(classes)] / label.size


def _composition(label: np.ndarray, classes: Sequence[str]) -> str:
    shares = _shares(label, classes)
    return ', '.join(f'{classes[index]} {shares[index]:.0%}' for index in np.argsort(-shares)[:5] if shares[index] > 0)


def _changes(before: np.ndarray, after: np.ndarray, classes: Sequence[str], count: int = 3) -> list[str]:
    """The classes whose shares changed most: 'road 31 → 42 %'."""
    first, last = _shares(before, classes), _shares(after, classes)
    return [f'{classes[index]} {first[index]:.0%} → {last[index]:.0%}'
            for index in np.argsort(-abs(last - first))[:count] if abs(last[index] - first[index]) >= 0.01]
