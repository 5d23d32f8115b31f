"""Are all numbers finite? Asked on the device, without waiting for the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def any_not_finite(tensors: Iterable[Tensor], device: torch.device | None = None) -> Tensor:
    """Whether one of the tensors holds NaN or an infinity; () bool.

    The largest absolute value of each tensor tells, in one pass of fused kernels: a norm would
    overflow on large numbers that are still finite.

    Args:
        tensors: float tensors of any shape; others (and empty ones) are passed over.
        device: where the answer lies; None takes that of the first tensor.
    """
    groups: dict[tuple, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            groups[tensor.device, tensor.dtype].append(tensor.detach())
    device = device or next((place for place, _ in groups), torch.device('cpu'))
    found = [torch.stack(torch._foreach_norm(group, float('inf'))).isfinite().all().to(device, non_blocking=True)
             for group in groups.values()]
    return ~torch.stack(found).all() if found else torch.zeros((), dtype=torch.bool, device=device)


def loss_terms(output: object) -> dict[str, Tensor]:
    """Name -> mean of each loss in what a model gives for ``mode='loss'``: those that are trained on.

    As in mmengine's ``parse_losses``: entries whose name contains ``loss``, lists summed.
    """
    if not isinstance(output, Mapping):
        return {}
    return {name: _mean(value) for name, value in output.items() if 'loss' in name}


def _mean(value: Tensor | list[Tensor]) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().mean()
    return torch.stack([one.detach().mean() for one in value]).sum()


def names_not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those that hold NaN or an infinity; waits for the device."""
    return [name for name, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
