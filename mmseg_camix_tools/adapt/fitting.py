"""The size of a training that fits memory and time, from measurements of few sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from . import AdaptError
from .draft import STEP, Size

SCALES = (1.0, 0.75, 0.5, 0.375, 0.25)  # of the side of the crop
SMALLEST = 96  # pixels per side
ENOUGH = 500  # iterations; smaller crops are chosen until the time suffices for as many
MEMORY_SHARE = 0.85  # of the free memory
MIB = 2**20


class Candidate(NamedTuple):
    """A crop and a batch size."""

    crop: Size
    batch: int

    @property
    def pixels(self) -> int:
        """Of a batch of one branch."""
        return self.crop[0] * self.crop[1] * self.batch

    def __str__(self) -> str:
        return f'crops of {self.crop[1]}x{self.crop[0]}, {self.batch} per batch'


@dataclass(frozen=True)
class Measured:
    """Time in seconds and memory in bytes of a candidate."""

    steps: dict[str, float]  # of the 'unadapted' and the 'adapted' network
    image: float
    start: float
    before: int
    peak: int


Probe = Callable[[Candidate], Measured | None]


def candidates(crop: Size, batch: int, fewest: int = 1) -> list[Candidate]:
    """Sizes to choose from, the largest first: fewer images first, then smaller crops.

    The method needs at least `fewest` images per batch, 1 or 2; a single one is paired with the smallest crop only.
    """
    sizes = []
    for scale in SCALES:
        height, width = (side if scale == 1 or side < STEP else int(side * scale) // STEP * STEP for side in crop)
        if scale == 1 or min(height, width) >= min(SMALLEST, *crop):
            sizes.append((height, width))
    listed = [Candidate(crop, batch), *(Candidate(size, min(batch, 2)) for size in sizes),
              Candidate(sizes[-1], fewest)]
    return sorted(dict.fromkeys(listed), key=lambda candidate: -candidate.pixels)


def choose(sizes: Sequence[Candidate], probe: Probe, free: int | None, seconds: float | None) -> tuple[Candidate,
                                                                                                       Measured]:
    """The largest size that fits, with its measurement.

    The smallest of several images per batch is measured first (one image is the last resort); memory and time of the
    others are extrapolated from it by their pixels, and the chosen one is measured, too.

    Args:
        sizes: from large to small.
        probe: measures a size; None where memory is exhausted.
        free: bytes of memory; None where unknown.
        seconds: for steps; None where iterations are given.
    """
    base = sizes[-1] if sizes[-1].batch > 1 else sizes[-2:][0]
    measured = probe(base)
    if measured is None and base != sizes[-1]:
        base = sizes[-1]
        measured = probe(base)
    if measured is None:
        raise AdaptError(f'too little memory: even {base} do not fit ({describe_memory(free)}); use a machine or GPU '
                         'with more memory, a smaller network, or end other programs')
    for size in sizes:
        if size.pixels <= base.pixels:
            break
        ratio = size.pixels / base.pixels
        memory = measured.before + (measured.peak - measured.before) * ratio
        if (free is not None and memory > MEMORY_SHARE * free) or \
                (seconds is not None and measured.steps['adapted'] * ratio * ENOUGH > seconds):
            continue
        if (other := probe(size)) is not None:
            return size, other
    return base, measured


def free_memory() -> int | None:
    """Bytes of memory that a training may use: of the GPU where there is one; None where unknown."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    limits = [number for number in (_available(), _container_limit()) if number is not None]
    return min(limits, default=None)


def describe_memory(free: int | None) -> str:
    """'15872 MiB are free', or that it is unknown."""
    return 'free memory is unknown' if free is None else f'{free // MIB} MiB are free'


def _available() -> int | None:
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable')), None)


def _container_limit() -> int | None:
    """Bytes left to a container (cgroup v2); None without a limit."""
    try:
        limit, used = (Path(f'/sys/fs/cgroup/memory.{name}').read_text().strip() for name in ('max', 'current'))
    except OSError:
        return None
    return None if limit == 'max' else max(0, int(limit) - int(used))
