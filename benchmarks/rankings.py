"""How well scores rank networks whose true mIoU is known."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import mean

from scipy.stats import kendalltau, spearmanr

SOURCE_ONLY = 'Source only'
# Differences in mIoU below this are no more than another seed makes.
MARGIN = 1.0


@dataclass(frozen=True)
class Point:
    """One network of one checkpoint.

    Args:
        root: folder of the work dirs; its trainings have one schedule and one source-only network.
        row: name of the method or setting.
        run: work dir of the training.
        tested: whether the method is tested with this network.
    """

    root: str
    row: str
    run: str
    iteration: int
    network: str
    tested: bool
    mIoU: float
    scores: dict[str, float]

    @property
    def adapted(self) -> bool:
        """Whether the training saw target images."""
        return not self.row.startswith(SOURCE_ONLY)


def correlation(measure: Callable, points: Sequence[Point], score: str) -> float:
    """Rank correlation of a score with mIoU; NaN if all values of one are equal."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of equal values
        return float(measure([p.scores[score] for p in points], [p.mIoU for p in points]).statistic)


def chosen(points: Sequence[Point], score: str) -> Point:
    """The point with the largest score; NaN is never chosen if there is another value."""
    return max(points, key=lambda point: -float('inf') if isnan(value := point.scores[score]) else value)


def groups(points: Sequence[Point], key: str) -> list[list[Point]]:
    """Points with an equal attribute together."""
    return [[point for point in points if getattr(point, key) == value]
            for value in dict.fromkeys(getattr(point, key) for point in points)]


def last_iterates(points: Sequence[Point]) -> list[Point]:
    """The points of each training's last recorded iteration."""
    return [point for run in groups(points, 'run') for point in run
            if point.iteration == max(other.iteration for other in run)]


def harm(points: Sequence[Point], score: str) -> tuple[int, int, int, int]:
    """Compare adapted networks with the last source-only network of the same root.

    Returns:
        (harmed networks with a lower score, harmed ones, improved networks with a higher score, improved ones);
        those within MARGIN of the source-only network are neither.
    """
    counts = [0, 0, 0, 0]
    for root in groups(points, 'root'):
        references = [point for point in last_iterates(root) if not point.adapted]
        for reference in references[:1]:
            for point in root:
                gain, sign = point.mIoU - reference.mIoU, point.scores[score] - reference.scores[score]
                if point.adapted and abs(gain) >= MARGIN:
                    counts[2 * (gain > 0) + 1] += 1
                    counts[2 * (gain > 0)] += sign * gain > 0
    return counts[0], counts[1], counts[2], counts[3]


def summary(points: Sequence[Point], score: str) -> dict[str, float]:
    """How far one score can be trusted.

    Returns:
        'rho' and 'tau' over all points of a root, mean over roots; 'settings': rho over the last iterates of a root;
        'iterates': rho within a training, mean over trainings; 'regret': mIoU lost to the best point of a root, mean;
        'gain': mIoU of the choice within a training minus that of its last tested network, mean over trainings;
        'oracle gain': the same for the best choice.
    """
    points = [point for point in points if not isnan(point.scores.get(score, nan))]
    roots = groups(points, 'root')
    runs = [run for run in groups(points, 'run') if len(run) > 1]
    tested = [next((p for p in last_iterates(run) if p.tested), None) for run in runs]
    return dict(
        rho=_mean(correlation(spearmanr, root, score) for root in roots),
        tau=_mean(correlation(kendalltau, root, score) for root in roots),
        settings=_mean(correlation(spearmanr, last_iterates(root), score) for root in roots),
        iterates=_mean(correlation(spearmanr, run, score) for run in runs if run[0].adapted and len(run) > 2),
        regret=_mean(max(p.mIoU for p in root) - chosen(root, score).mIoU for root in roots),
        gain=_mean(chosen(run, score).mIoU - end.mIoU for run, end in zip(runs, tested) if end),
        **{'oracle gain': _mean(max(p.mIoU for p in run) - end.mIoU for run, end in zip(runs, tested) if end)})


def _mean(values) -> float:
    known = [value for value in values if not isnan(value)]
    return mean(known) if known else nan
