"""How well scores rank networks whose true mIoU is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan, sqrt
from statistics import mean

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


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, from 1; the mean rank for equal values."""
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of ranks; NaN if all values of one are equal."""
    x, y = ([rank - (len(first) + 1) / 2 for rank in ranks(list(values))] for values in (first, second))
    norm = sqrt(sum(a * a for a in x) * sum(b * b for b in y))
    return sum(a * b for a, b in zip(x, y)) / norm if norm else nan


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b: pairs in the same order minus pairs in opposite order, as a share of those without ties."""
    signs = [((a > b) - (a < b), (c > d) - (c < d)) for (a, c), (b, d) in combinations(list(zip(first, second)), 2)]
    norm = sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))
    return sum(x * y for x, y in signs) / norm if norm else nan


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
    pairs = [([p.scores[score] for p in root], [p.mIoU for p in root]) for root in roots]
    last = [last_iterates(root) for root in roots]
    runs = [run for run in groups(points, 'run') if len(run) > 1]
    tested = [next((p for p in last_iterates(run) if p.tested), None) for run in runs]
    return dict(
        rho=_mean(spearman(*pair) for pair in pairs), tau=_mean(kendall(*pair) for pair in pairs),
        settings=_mean(spearman([p.scores[score] for p in root], [p.mIoU for p in root]) for root in last),
        iterates=_mean(spearman([p.scores[score] for p in run], [p.mIoU for p in run])
                       for run in runs if run[0].adapted and len(run) > 2),
        regret=_mean(max(p.mIoU for p in root) - chosen(root, score).mIoU for root in roots),
        gain=_mean(chosen(run, score).mIoU - end.mIoU for run, end in zip(runs, tested) if end),
        **{'oracle gain': _mean(max(p.mIoU for p in run) - end.mIoU for run, end in zip(runs, tested) if end)})


def _mean(values) -> float:
    known = [value for value in values if not isnan(value)]
    return mean(known) if known else nan
