"""One source of randomness per step, so that a step can be replayed."""

from __future__ import annotations

import torch

from .step import Progress

# Two streams: from one seed, masks and augmentation would draw the same numbers. They differ in the
# low 32 bits, for torch's CPU generator reads no others.
STREAMS = (0, 0x9E3779B9)


class StepGenerators:
    """Generators of a step: one on the images' device, one on the host; both follow from the progress."""

    def __init__(self) -> None:
        self._pair: tuple[torch.Generator, torch.Generator] | None = None

    def at(self, progress: Progress, device: torch.device) -> tuple[torch.Generator, torch.Generator]:
        """(on the device, on the host), seeded for this iteration."""
        if self._pair is None or self._pair[0].device != device:
            self._pair = (torch.Generator(device), torch.Generator())
        seed = (progress.seed * 1_000_003 + progress.iteration) % 2**63
        for generator, stream in zip(self._pair, STREAMS):
            generator.manual_seed(seed ^ stream)
        return self._pair
