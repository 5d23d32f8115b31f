"""Random draws and means for several processes that act on one global batch."""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Average = Callable[[Tensor], Tensor]
"""Maps a number of one process to its mean over the processes that share a batch."""


def identity(value: Tensor) -> Tensor:
    """Return `value`: the :data:`Average` over a single process."""
    return value


class BatchGenerator(torch.Generator):
    """A generator of which each process holds an equal copy and uses the draws for its own images.

    Every process draws for all images of all processes and keeps its own rows, so that the numbers of an image do not
    depend on the process that holds it. Image b of process `rank` is row rank + world * b, the order in which
    :class:`~mmseg_camix.datasets.PairedSampler` distributes images. With `world` 1 it equals `torch.Generator`.
    """

    rank: int = 0
    world: int = 1


def process_of(generator: torch.Generator | None) -> tuple[int, int]:
    """(rank, world) of a :class:`BatchGenerator`; (0, 1) of any other generator."""
    return getattr(generator, 'rank', 0), getattr(generator, 'world', 1)


def rand(shape: Sequence[int], generator: torch.Generator | None = None,
         device: torch.device | str | None = None, dim: int = 0) -> Tensor:
    """Draw this process's uniform numbers in [0, 1), as `torch.rand`; dimension `dim` counts images."""
    return _own_rows(torch.rand(_global_shape(shape, generator, dim), generator=generator, device=device),
                     generator, dim)


def randn(shape: Sequence[int], generator: torch.Generator | None = None,
          device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Draw this process's normal numbers, as `torch.randn`; dimension 0 counts images."""
    drawn = torch.randn(_global_shape(shape, generator, 0), generator=generator, device=device, dtype=dtype)
    return _own_rows(drawn, generator, 0)


@contextmanager
def shared_draws(generator: torch.Generator) -> Iterator[None]:
    """Make all processes draw the same numbers within the block, for the batch and not for single images."""
    rank, world = process_of(generator)
    if isinstance(generator, BatchGenerator):
        generator.rank, generator.world = 0, 1
    try:
        yield
    finally:
        if isinstance(generator, BatchGenerator):
            generator.rank, generator.world = rank, world


def _global_shape(shape: Sequence[int], generator: torch.Generator | None, dim: int) -> list[int]:
    _, world = process_of(generator)
    return [size * world if index == dim else size for index, size in enumerate(shape)]


def _own_rows(drawn: Tensor, generator: torch.Generator | None, dim: int) -> Tensor:
    rank, world = process_of(generator)
    return drawn if world == 1 else drawn.reshape(*drawn.shape[:dim], -1, world, *drawn.shape[dim + 1:]).select(
        dim + 1, rank)
