"""The scores: what each of them needs and how it follows from a state. Larger is better for all of them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import mean

import torch

from mmseg_camix.ops import unlabelled as U

from .probes import VIEWS
from .state import State

RECOMMENDED = 'infomax'
"""The score that selects checkpoints unless another one is given; docs/selection.md has the measurements."""


@dataclass(frozen=True)
class Score:
    """One score.

    Args:
        compute: state -> value.
        meaning: in a few words, for tables.
        probes: passes that it needs besides that over the images: names of views, 'mixed', 'other', 'features'.
    """

    compute: Callable[[State], float]
    meaning: str
    probes: frozenset[str] = field(default_factory=frozenset)


def _entropy(state: State) -> float:
    return -float(state.sums['entropy'] / state.sums['pixels'])


def _diversity(state: State) -> float:
    return float(U.relative_entropy(state.sums['probs'] / state.sums['pixels']))


def _infomax(state: State) -> float:
    return _diversity(state) + _entropy(state)


def _dispersity(state: State) -> float:
    return float(U.dispersity(state.sums['products'], int(state.sums['pixels'])))


def _density(state: State) -> float:
    return float(U.neighbourhood_density(state.samples['probs'].tensor()))


def _consistency(state: State, views: Iterable[str] = tuple(VIEWS)) -> float:
    return mean(float(U.mean_iou(state.sums[view])) for view in views)


def _shared(state: State, views: Iterable[str] = tuple(VIEWS)) -> float:
    return mean(float(U.mutual_information(state.sums[view])) for view in views)


def _stability(state: State) -> float:
    return mean(float(U.agreement(state.sums[view])) for view in VIEWS)


def _invariance(state: State) -> float:
    return mean(float(state.sums[f'{view}.invariance'] / state.sums[view].sum()) for view in VIEWS)


def _agreement(state: State) -> float:
    return float(U.mean_iou(state.sums['other']))


def _mixed(state: State) -> float:
    """Mean of both kinds of probes; a network that predicts one class only has no pairs of unequal labels: 0."""
    if 'equal' not in state.sums:
        return math.nan  # a single image
    return mean(float(state.sums[kind][0] / state.sums[kind][1].clamp_min(1)) for kind in ('equal', 'unequal'))


def _transfer(state: State) -> float:
    generator = torch.Generator().manual_seed(0)
    clustering = float(U.hopkins(state.samples['features'].tensor(), generator))
    return clustering - float(state.sums['bias'] / state.sums['batches']) + abs(_infomax(state))


SCORES: dict[str, Score] = dict(
    entropy=Score(_entropy, 'minus the mean entropy'),
    diversity=Score(_diversity, 'entropy of the mean prediction'),
    infomax=Score(_infomax, 'mutual information: diversity minus mean entropy'),
    dispersity=Score(_dispersity, 'nuclear norm of all predictions'),
    density=Score(_density, 'soft neighbourhood density of predictions'),
    mixed=Score(_mixed, 'mixed images keep the label of the dominant one', frozenset({'mixed'})),
    transfer=Score(_transfer, 'uniform classifier, clustered features, mutual information', frozenset({'features'})),
    agreement=Score(_agreement, 'mIoU of student and teacher', frozenset({'other'})),
    flip=Score(lambda state: _consistency(state, ['flip']), 'mIoU with the mirrored image', frozenset({'flip'})),
    colour=Score(lambda state: _consistency(state, ['colour']), 'mIoU with the recoloured image',
                 frozenset({'colour'})),
    zoom=Score(lambda state: _consistency(state, ['zoom']), 'mIoU with the enlarged image', frozenset({'zoom'})),
    consistency=Score(_consistency, 'mean of flip, colour and zoom', frozenset(VIEWS)),
    shared=Score(_shared, 'mutual information of labels in these views', frozenset(VIEWS)),
    shared_zoom=Score(lambda state: _shared(state, ['zoom']), 'mutual information with labels of the enlarged image',
                      frozenset({'zoom'})),
    stability=Score(_stability, 'share of pixels that keep their label in these views', frozenset(VIEWS)),
    invariance=Score(_invariance, 'confidence of pixels that keep their label in these views', frozenset(VIEWS)))


def check_scores(names: Iterable[str] | None) -> tuple[str, ...]:
    """The names; all for None. An unknown one raises a ValueError with the valid ones."""
    names = tuple(SCORES) if names is None else (names,) if isinstance(names, str) else tuple(names)
    if unknown := [name for name in names if name not in SCORES]:
        raise ValueError(f'unknown score {unknown[0]!r}; available: {", ".join(SCORES)}')
    if not names:
        raise ValueError(f'no score is selected; available: {", ".join(SCORES)}')
    return names
