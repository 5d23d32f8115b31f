"""Steps whose loss or gradients are not finite: detection, description, and the buffers before them."""

import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch import Tensor, nn


class NonFiniteError(RuntimeError):
    """Raised where a training cannot continue because of NaN or infinities."""


@dataclass
class Forward:
    """One forward pass of a step."""

    iteration: int
    batch: Any
    """From the data loader, on the host."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Name -> () loss, on the device."""
    autocast: str | None = None
    """'float16' or 'bfloat16' under mixed precision."""


def describe_step(model: nn.Module, wrapper: OptimWrapper, forward: Forward, verdict: tuple[bool, bool],
                  gradients: list[str]) -> tuple[str, str]:
    """A line about losses and gradients, and a table of everything inspected, with advice; waits for the device.

    Args:
        model: without a DDP wrapper.
        wrapper: its optimiser wrapper.
        forward: the pass to describe.
        verdict: whether a loss, and whether a gradient of any process is not finite.
        gradients: parameters whose gradient is not finite; [] if a loss scaler has skipped the optimiser.
    """
    bad_loss, bad_gradient = verdict
    values = {name: float(value) for name, value in forward.losses.items()}
    finite = [f'{name} {value:.4g}' for name, value in values.items() if math.isfinite(value)]
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    losses = ', '.join(f'{name} is {values[name]}' for name in bad) or (
        'a loss of another process is not finite' if bad_loss else 'all losses are finite')
    weights = names_not_finite(dict(model.named_parameters()))
    images = names_not_finite(dict(tensors_in(forward.batch)))
    precision = _precision(wrapper, forward.autocast)
    rows = {'losses': f'{losses}; finite: {", ".join(finite) or "none"}',
            'gradients': 'not finite' if bad_gradient and not gradients else _summary(gradients),
            'weights': _summary(weights), 'images': _summary(images),
            'learning rate': f'{wrapper.param_groups[0]["lr"]:.4g}', 'precision': precision}
    table = ''.join(f'  {name:<14} {text}\n' for name, text in rows.items())
    # If all losses are bad, the cause is not in one of them, but in their input.
    advice = _advice(weights, images, bad if finite else [], precision)
    line = losses + (f', {len(gradients) or "some"} gradients are not finite' if bad_gradient else '')
    return line, f'{table}Check' + ''.join(f'\n  - {text}' for text in advice)


def _advice(weights: list[str], images: list[str], losses: list[str], precision: str) -> list[str]:
    """What to check, the likeliest cause first."""
    if weights:
        return ['the weights themselves are not finite, so every step fails: start from an earlier checkpoint, or '
                'check the file given as load_from']
    if images:
        return ['the images are not finite: check the files named in the data samples, and their pipeline']
    advice = [f'the objective behind {name}: a logarithm or a division by something that can be 0' for name in losses]
    advice.append('the learning rate: a tenth of it, a longer warm-up (LinearLR), or '
                  'optim_wrapper.clip_grad=dict(max_norm=...)')
    if not precision.startswith('fp32'):
        advice.append('mixed precision: train without it, or in bfloat16 (--speed amp=bf16)')
    return advice


def _summary(names: list[str]) -> str:
    return f'{len(names)} not finite, first {names[0]}' if names else 'all finite'


def _precision(wrapper: OptimWrapper, autocast: str | None) -> str:
    scaler = getattr(wrapper, 'loss_scaler', None)
    kind = 'fp32' if autocast is None else f'mixed ({autocast})'
    return kind if scaler is None else f'{kind}, loss scale {scaler.get_scale():g}'


def tensors_in(value: Any, path: str = '') -> Iterator[tuple[str, Tensor]]:
    """Yield (path, tensor) of all tensors in a nested batch, which are its images."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from tensors_in(item, f'{path}[{index}]')


def plain_batch(value: Any) -> Any:
    """A batch as nested dicts and lists of tensors, numbers and text; other objects become text."""
    if isinstance(value, BaseDataElement):
        value = value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain_batch(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_batch(item) for item in value]
    if value is None or isinstance(value, (Tensor, np.ndarray, np.generic, bool, int, float, str)):
        return value
    return str(value)


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
