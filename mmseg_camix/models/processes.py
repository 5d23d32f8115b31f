"""What the processes of one training share within a step."""

from typing import Self

import torch
from mmengine.dist import get_dist_info
from torch import Tensor, distributed


class Processes:
    """The processes whose images make one batch. With one process, every method is the identity.

    DDP takes the mean of the processes' gradients. So a sum that is divided by the *mean of the divisors* of all
    processes has the gradient that one process would have with all the images.

    All processes must call the same methods in the same order, as collective operations demand. Nothing here waits for
    the device.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @classmethod
    def of_training(cls) -> Self:
        """The processes that were launched together."""
        return cls(*get_dist_info())

    @torch.no_grad()
    def average(self, value: Tensor) -> Tensor:
        """Mean of ``value``, of any shape, over the processes; floats keep their dtype, others become fp32."""
        if self.world == 1:
            return value
        total = value.detach().clone() if value.is_floating_point() else value.float()
        distributed.all_reduce(total)
        return total / self.world

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        """Rows (B, ...) of all processes, (world * B, ...), in the order of the global batch."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.world)]
        distributed.all_gather(parts, rows.detach().contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    def gather_live(self, rows: Tensor) -> Tensor:
        """As :meth:`gather`, with a gradient to this process's rows: for a loss that all processes compute alike.

        The gradient is multiplied by `world`, because DDP's mean divides by it.
        """
        if self.world == 1:
            return rows
        own = rows * self.world - rows.detach() * (self.world - 1)
        place = self.rank + self.world * torch.arange(len(rows), device=rows.device)
        return self.gather(rows).index_copy(0, place, own)
