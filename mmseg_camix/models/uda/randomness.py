"""One source of randomness per step, so that a step can be replayed."""

from __future__ import annotations

import torch

from mmseg_camix.ops.global_batch import BatchGenerator

from ..processes import Processes
from ..step import Progress

# Two streams: from one seed, masks and augmentation would draw the same numbers. They differ in the
# low 32 bits, for torch's CPU generator reads no others.
STREAMS = (0, 0x9E3779B9)


class StepGenerators:
    """Generators of a step: one on the images' device, one on the host; both follow from the progress."""

    def __init__(self) -> None:
        self._pair: tuple[BatchGenerator, BatchGenerator] | None = None

    def at(self, progress: Progress, device: torch.device,
           processes: Processes | None = None) -> tuple[BatchGenerator, BatchGenerator]:
        """(on the device, on the host), seeded for this iteration.

        Args:
            progress: where the training stands.
            device: of the images.
            processes: those that share a batch, and then have equal seeds; None for this one alone.
        """
        if self._pair is None or self._pair[0].device != device:
            self._pair = (BatchGenerator(device), BatchGenerator())
        seed = (progress.seed * 1_000_003 + progress.iteration) % 2**63
        for generator, stream in zip(self._pair, STREAMS):
            generator.manual_seed(seed ^ stream)
            generator.rank, generator.world = (processes.rank, processes.world) if processes else (0, 1)
        return self._pair
