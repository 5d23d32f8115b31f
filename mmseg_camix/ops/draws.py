"""Random numbers for the images of a batch, also where several processes share one batch."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class BatchGenerator(torch.Generator):
    """A generator of which several processes hold equal copies, each for its own images.

    Every process draws for all images of all processes and keeps its own rows, so that an image gets
    the same numbers whoever works on it. Image b of process r is number r + world * b of them, as
    :class:`~mmseg_camix.datasets.PairedSampler` deals them out. Alone (`world` 1) it is torch's own.
    """

    rank: int = 0
    world: int = 1


def of_processes(generator: torch.Generator | None) -> tuple[int, int]:
    """(rank, world) of a :class:`BatchGenerator`; any other generator serves one process alone."""
    return getattr(generator, 'rank', 0), getattr(generator, 'world', 1)


def rand(shape: Sequence[int], generator: torch.Generator | None = None,
         device: torch.device | str | None = None, dim: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), as `torch.rand`.

    Args:
        shape: of this process's numbers.
        generator: the source of randomness, on `device`.
        device: where they are drawn.
        dim: the dimension that counts the images.
    """
    whole = _whole(shape, generator, dim)
    return _own(torch.rand(whole, generator=generator, device=device), generator, dim)


def randn(shape: Sequence[int], generator: torch.Generator | None = None,
          device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Normal numbers, as `torch.randn`; arguments as in :func:`rand`, images first."""
    whole = _whole(shape, generator, 0)
    return _own(torch.randn(whole, generator=generator, device=device, dtype=dtype), generator, 0)


@contextmanager
def one_for_all(generator: torch.Generator) -> Iterator[None]:
    """Within the block, what is drawn is the same in all processes, and not for single images."""
    rank, world = of_processes(generator)
    if world > 1:
        generator.rank, generator.world = 0, 1
    try:
        yield
    finally:
        if world > 1:
            generator.rank, generator.world = rank, world


def _whole(shape: Sequence[int], generator: torch.Generator | None, dim: int) -> list[int]:
    """The shape for all processes."""
    _, world = of_processes(generator)
    return [size * world if index == dim else size for index, size in enumerate(shape)]


def _own(drawn: Tensor, generator: torch.Generator | None, dim: int) -> Tensor:
    """The rows of this process."""
    rank, world = of_processes(generator)
    return drawn if world == 1 else drawn.unflatten(dim, (-1, world)).select(dim + 1, rank)
