"""Buffers as they were before a step."""

from __future__ import annotations

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
        self._taken: list[tuple[dict, str, Tensor]] = []
        self._copies: list[Tensor] = []
        self._groups: list[list[int]] = []

    @torch.no_grad()
    def take(self) -> None:
        """Remember the buffers as they are now."""
        self._taken = [(owner, name, owner[name]) for owner, name in self._places if owner.get(name) is not None]
        live = [buffer for _, _, buffer in self._taken]
        if [_kind(one) for one in live] != [_kind(one) for one in self._copies]:
            self._allocate(live)
        for group in self._groups:
            torch._foreach_copy_([self._copies[i] for i in group], [live[i] for i in group])

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back: values that were overwritten, and tensors that were exchanged."""
        for (owner, name, buffer), copy in zip(self._taken, self._copies):
            buffer.copy_(copy)
            owner[name] = buffer

    def _allocate(self, live: list[Tensor]) -> None:
        self._copies = [torch.empty_like(one) for one in live]
        groups: dict[tuple, list[int]] = defaultdict(list)
        for index, one in enumerate(live):
            groups[one.device, one.dtype].append(index)
        self._groups = list(groups.values())


def _kind(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.dtype, tensor.device
