"""Are all numbers finite? Asked on the device, without waiting for the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def any_not_finite(tensors: Iterable[Tensor], device: torch.device | None = None) -> Tensor:
    """Whether one of the tensors holds NaN or an infinity; () bool.

    One number of each tensor tells, for NaN and infinities survive in it: see :func:`_telling`.

    Args:
        tensors: float tensors of any shape; others (and empty ones) are passed over.
        device: where the answer lies; None takes that of the first tensor.
    """
    groups: dict[tuple, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            groups[tensor.device, tensor.dtype].append(tensor.detach())
    device = device or next((place for place, _ in groups), torch.device('cpu'))
    found = [torch.stack(_telling(group)).isfinite().all().to(device, non_blocking=True) for group in groups.values()]
    return ~torch.stack(found).all() if found else torch.zeros((), dtype=torch.bool, device=device)


def _telling(tensors: list[Tensor]) -> Sequence[Tensor]:
    """A number of each tensor that is finite if all of it is; the tensors share device and type.

    On an accelerator the largest absolute value, in a single kernel. On a CPU that is slow, and the sum
    does as well: it overflows only where numbers of 1e38 are added, which no training survives either.
    """
    if tensors[0].device.type == 'cpu' and tensors[0].dtype in (torch.float32, torch.float64):
        return [tensor.sum() for tensor in tensors]
    return torch._foreach_norm(tensors, float('inf'))


def loss_terms(output: object) -> dict[str, Tensor]:
    """Name -> mean of each loss in what a model gives for ``mode='loss'``: those that are trained on.

    As in mmengine's ``parse_losses``: entries whose name contains ``loss``, lists summed.
    """
    if not isinstance(output, Mapping):
        return {}
    return {name: _mean(value) for name, value in output.items() if 'loss' in name}


def _mean(value: Tensor | list[Tensor]) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().float().mean()
    return torch.stack([_mean(one) for one in value]).sum()


def names_not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those that hold NaN or an infinity; waits for the device."""
    return [name for name, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
