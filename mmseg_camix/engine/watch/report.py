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


@dataclass
class StepReport:
    """Where the numbers of a step are not finite, and the settings that usually cause it."""

    losses: dict[str, float]
    """Losses of the first forward pass that has one which is not finite, else of the last pass."""
    bad_loss: bool
    """Whether a loss of any process is not finite."""
    bad_gradient: bool
    gradients: list[str]
    """Parameters whose gradient is not finite; unknown ([]) where a loss scaler has skipped the optimiser."""
    weights: list[str]
    """Parameters that were not finite before the step."""
    images: list[str]
    learning_rate: float
    precision: str

    @classmethod
    def of(cls, model: nn.Module, wrapper: OptimWrapper, forward: Forward, verdict: tuple[bool, bool],
           gradients: list[str]) -> StepReport:
        """Inspect the model and the batch; waits for the device.

        Args:
            model: without a DDP wrapper.
            wrapper: its optimiser wrapper.
            forward: the pass to report.
            verdict: whether a loss, and whether a gradient is not finite.
            gradients: names of parameters whose gradient is not finite.
        """
        return cls({name: float(value) for name, value in forward.losses.items()}, *verdict, gradients,
                   names_not_finite(dict(model.named_parameters())), names_not_finite(dict(tensors_in(forward.batch))),
                   wrapper.param_groups[0]['lr'], _precision(wrapper, forward.autocast))

    @property
    def bad_losses(self) -> list[str]:
        """Names of the losses that are not finite."""
        return [name for name, value in self.losses.items() if not math.isfinite(value)]

    def line(self) -> str:
        """Losses and gradients in one line."""
        count = len(self.gradients) or 'some'
        return self._losses() + (f', {count} gradients are not finite' if self.bad_gradient else '')

    def table(self) -> str:
        """One row per quantity."""
        finite = ', '.join(f'{name} {value:.4g}' for name, value in self.losses.items() if math.isfinite(value))
        gradients = 'not finite' if self.bad_gradient and not self.gradients else _summary(self.gradients)
        rows = {'losses': f'{self._losses()}; finite: {finite or "none"}', 'gradients': gradients,
                'weights': _summary(self.weights), 'images': _summary(self.images),
                'learning rate': f'{self.learning_rate:.4g}', 'precision': self.precision}
        return '\n'.join(f'  {name:<14} {text}' for name, text in rows.items())

    def _losses(self) -> str:
        if self.bad_losses:
            return ', '.join(f'{name} is {self.losses[name]}' for name in self.bad_losses)
        return 'a loss of another process is not finite' if self.bad_loss else 'all losses are finite'

    def advice(self) -> list[str]:
        """What to check, the likeliest cause first."""
        if self.weights:
            return ['the weights themselves are not finite, so every step fails: start from an earlier checkpoint, or '
                    'check the file given as load_from']
        if self.images:
            return ['the images are not finite: check the files named in the data samples, and their pipeline']
        advice = []
        if len(self.bad_losses) < len(self.losses):  # otherwise the cause is not in the losses, but in their input
            advice += [f'the objective behind {name}: a logarithm or a division by something that can be 0'
                       for name in self.bad_losses]
        advice.append('the learning rate: a tenth of it, a longer warm-up (LinearLR), or '
                      'optim_wrapper.clip_grad=dict(max_norm=...)')
        if not self.precision.startswith('fp32'):
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
