"""Checks for NaN and infinities; on the device, without waiting for the result where possible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def any_not_finite(tensors: Iterable[Tensor], device: torch.device | None = None) -> Tensor:
    """Whether any of the tensors holds NaN or an infinity; () bool.

    Each tensor is reduced to one number in which NaN and infinities survive, see :func:`_reduced`.

    Args:
        tensors: float tensors of any shape; other types and empty tensors are ignored.
        device: where the result lies; None takes that of the first tensor.
    """
    groups: dict[tuple, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            groups[tensor.device, tensor.dtype].append(tensor.detach())
    device = device or next((place for place, _ in groups), torch.device('cpu'))
    finite = [torch.stack(_reduced(group)).isfinite().all().to(device, non_blocking=True) for group in groups.values()]
    return ~torch.stack(finite).all() if finite else torch.zeros((), dtype=torch.bool, device=device)


def _reduced(tensors: list[Tensor]) -> Sequence[Tensor]:
    """One number per tensor that is finite if the whole tensor is; the tensors share device and type.

    On an accelerator this is the largest absolute value, in a single kernel. On a CPU that is slow, and the sum
    serves as well: it overflows only where numbers around 1e38 are added.
    """
    if tensors[0].device.type == 'cpu' and tensors[0].dtype in (torch.float32, torch.float64):
        return [tensor.sum() for tensor in tensors]
    return torch._foreach_norm(tensors, float('inf'))


def loss_terms(output: object) -> dict[str, Tensor]:
    """Name -> mean of each trained loss in a model's output for ``mode='loss'``.

    As in mmengine's ``parse_losses``: entries whose name contains ``loss``, lists summed.
    """
    if not isinstance(output, Mapping):
        return {}
    return {name: _mean(value) for name, value in output.items() if 'loss' in name}


def _mean(value: Tensor | list[Tensor]) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().float().mean()
    return torch.stack([_mean(item) for item in value]).sum()


def names_not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold NaN or an infinity; waits for the device."""
    return [name for name, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
