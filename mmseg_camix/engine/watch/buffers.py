"""Buffers as they were before a step."""

from __future__ import annotations

import operator
from collections import defaultdict

import torch
from torch import Tensor, nn


class BufferSnapshot:
    """A copy of the model state that a forward pass changes: running statistics, memory banks.

    Only persistent buffers (those in checkpoints) are copied; the others follow from the config. The copies are
    reused from step to step and filled by one fused call per device and type.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = [(module._buffers, name) for module in model.modules() for name in module._buffers
                        if name not in module._non_persistent_buffers_set]
        self._buffers: list[Tensor | None] = []
        self._copies: list[Tensor | None] = []
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def take(self) -> None:
        """Copy the buffers as they are now."""
        buffers = [owner[name] for owner, name in self._places]
        if len(buffers) != len(self._buffers) or not all(map(operator.is_, buffers, self._buffers)):
            self._allocate(buffers)
        for copies, originals in self._groups:
            torch._foreach_copy_(copies, originals)

    @torch.no_grad()
    def restore(self) -> None:
        """Restore overwritten values and replaced tensors."""
        for (owner, name), buffer, copy in zip(self._places, self._buffers, self._copies):
            if buffer is not None:
                buffer.copy_(copy)
            owner[name] = buffer

    def _allocate(self, buffers: list[Tensor | None]) -> None:
        """Make room for buffers of another identity, size or type."""
        copies = self._copies or [None] * len(buffers)
        self._copies = [None if buffer is None else copy if _is_like(copy, buffer) else torch.empty_like(buffer)
                        for copy, buffer in zip(copies, buffers)]
        groups: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
        for copy, buffer in zip(self._copies, buffers):
            if buffer is not None:
                group = groups[buffer.device, buffer.dtype]
                group[0].append(copy)
                group[1].append(buffer)
        self._buffers, self._groups = buffers, list(groups.values())


def _is_like(copy: Tensor | None, buffer: Tensor) -> bool:
    return copy is not None and (copy.shape, copy.dtype, copy.device) == (buffer.shape, buffer.dtype, buffer.device)
