"""Description of a step whose loss or gradients are not finite, and its batch as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from .finite import names_not_finite


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
    """(path, tensor) of the images of a batch."""
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
