"""Buffers as they were before a step."""

from __future__ import annotations

import operator
from collections import defaultdict

import torch
from torch import Tensor, nn


class BufferSnapshot:
    """A copy of a model's state that a forward pass changes: running statistics, memory banks.

    Only what is in checkpoints (persistent buffers); the others follow from the config. Copies are
    kept from step to step and filled by one fused call for each type.

    Args:
        model: whose buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = [(module._buffers, name) for module in model.modules() for name in module._buffers
                        if name not in module._non_persistent_buffers_set]
        self._live: list[Tensor | None] = []
        self._copies: list[Tensor | None] = []
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def take(self) -> None:
        """Remember the buffers as they are now."""
        live = [owner[name] for owner, name in self._places]
        if len(live) != len(self._live) or not all(map(operator.is_, live, self._live)):
            self._meet(live)
        for copies, buffers in self._pairs:
            torch._foreach_copy_(copies, buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back: values that were overwritten, and tensors that were exchanged."""
        for (owner, name), buffer, copy in zip(self._places, self._live, self._copies):
            if buffer is not None:
                buffer.copy_(copy)
            owner[name] = buffer

    def _meet(self, live: list[Tensor | None]) -> None:
        """Tensors were exchanged for others: make room where they have another size."""
        known = self._copies or [None] * len(live)
        self._copies = [one if _alike(one, buffer) else None if buffer is None else torch.empty_like(buffer)
                        for one, buffer in zip(known, live)]
        groups: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
        for copy, buffer in zip(self._copies, live):
            if buffer is not None:
                for each, one in zip(groups[buffer.device, buffer.dtype], (copy, buffer)):
                    each.append(one)
        self._live, self._pairs = live, list(groups.values())


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and \
        (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
