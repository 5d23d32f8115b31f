"""What is known about a step whose loss or gradients are not finite, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from .evidence import Forward
from .finite import names_not_finite


class NonFiniteError(RuntimeError):
    """Too many steps had a loss or gradients that are not finite."""


@dataclass
class Diagnosis:
    """Where numbers are not finite, and the settings that most often are to blame."""

    terms: dict[str, float]
    """Name -> loss of one forward pass, the first whose losses are not all finite."""
    loss: bool = False
    """Whether a loss of any process is not finite."""
    gradient: bool = False
    """Whether gradients are not finite."""
    gradients: list[str] = field(default_factory=list)
    """Parameters whose gradient is not finite; with a loss scale they may be unknown."""
    trained: int = 0
    """Number of parameters that have a gradient."""
    weights: list[str] = field(default_factory=list)
    """Parameters that were not finite before the step."""
    inputs: list[str] = field(default_factory=list)
    """Parts of the batch that are not finite."""
    rate: float = 0.0
    precision: str = 'fp32'
    clipped: bool = False
    """Whether gradients are clipped by their norm, which spreads NaN over all of them."""

    @property
    def bad_terms(self) -> list[str]:
        """Names of the losses that are not finite."""
        return [name for name, value in self.terms.items() if not math.isfinite(value)]

    def line(self) -> str:
        """The finding in one line."""
        found = [f'{name} is {self.terms[name]}' for name in self.bad_terms]
        if not found:
            found.append('a loss of another process is not finite' if self.loss else 'all losses are finite')
        if self.gradient:
            found.append(f'{len(self.gradients) or "some"} of {self.trained} gradients are not finite')
        return ', '.join(found)

    def table(self) -> str:
        """The finding in full."""
        finite = [f'{name} {value:.4g}' for name, value in self.terms.items() if math.isfinite(value)]
        losses = [f'{name} is {self.terms[name]}' for name in self.bad_terms]
        if self.loss and not losses:
            losses.append('not finite in another process')
        rows = dict(
            losses='; '.join([*losses, f'finite: {", ".join(finite) or "none"}']),
            gradients=self._gradients(),
            weights=self._of(self.weights), images=self._of(self.inputs),
            rate=f'{self.rate:.4g}', precision=self.precision)
        return '\n'.join(f'  {name:<10} {text}' for name, text in rows.items())

    def _gradients(self) -> str:
        if self.gradient and not self.gradients:
            return 'some not finite'
        spread = self.clipped and len(self.gradients) == self.trained
        return self._of(self.gradients, f' of {self.trained}') + spread * ' (clipping by norm spreads NaN over all)'

    @staticmethod
    def _of(names: list[str], whole: str = '') -> str:
        return f'{len(names)}{whole} not finite, first {names[0]}' if names else 'all finite'

    def advice(self) -> list[str]:
        """What to look at, the likeliest first."""
        if self.weights:
            return ['the weights themselves are not finite, so that every step fails: begin with an earlier '
                    'checkpoint, or look at the file of load_from']
        if self.inputs:
            return ['the images are not finite: look at the files named in the data samples, and at their pipeline']
        found = []
        if len(self.bad_terms) < len(self.terms):  # else it is not the losses, but what they are given
            found += [f'the objective behind {name}: a logarithm or a division by something that can be 0'
                      for name in self.bad_terms]
        found.append('the learning rate: a tenth of it, a longer warm-up (LinearLR), or '
                     'optim_wrapper.clip_grad=dict(max_norm=...)')
        if not self.precision.startswith('fp32'):
            found.append('mixed precision: the same without it, or in bfloat16 (--speed amp=bf16)')
        return found


def diagnose(model: nn.Module, optimizer: OptimWrapper, forward: Forward, verdict: tuple[bool, bool],
             gradients: list[str]) -> Diagnosis:
    """Look at everything; waits for the device.

    Args:
        model: the model, without DDP around it.
        optimizer: its optimiser.
        forward: the pass to look at.
        verdict: whether a loss, and whether a gradient is not finite.
        gradients: names of parameters whose gradient is not finite.
    """
    parameters = dict(model.named_parameters())
    trained = sum(parameter.requires_grad for parameter in parameters.values())
    clipped = getattr(optimizer, 'clip_grad_kwargs', None) is not None
    values = {name: float(value) for name, value in forward.terms.items()}
    return Diagnosis(values, *verdict, gradients, trained, names_not_finite(parameters),
                     names_not_finite(dict(tensors_of(forward.batch))), optimizer.param_groups[0]['lr'],
                     precision(optimizer, forward.autocast), clipped)


def precision(optimizer: OptimWrapper, autocast: str | None) -> str:
    """The precision that the model ran in, in words."""
    scaler = getattr(optimizer, 'loss_scaler', None)
    kind = 'fp32' if autocast is None else f'mixed ({autocast})'
    return kind if scaler is None else f'{kind}, loss scale {scaler.get_scale():g}'


def tensors_of(batch: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of the images of a batch."""
    if isinstance(batch, Tensor):
        yield name, batch
    elif isinstance(batch, dict):
        for key, value in batch.items():
            yield from tensors_of(value, f'{name}.{key}' if name else str(key))
    elif isinstance(batch, (list, tuple)):
        for index, value in enumerate(batch):
            yield from tensors_of(value, f'{name}[{index}]')


def last_words(diagnosis: Diagnosis, counts: dict, iteration: int, saved: Path | None, config: Path) -> str:
    """The error that ends a training."""
    lines = [f'stopped in iteration {iteration}: {counts["consecutive"]} steps in a row ({counts["skipped"]} in all) '
             'had a loss or gradients that are not finite. None of them changed a weight. The last one:',
             diagnosis.table()]
    if saved is not None:
        lines += ['Its inputs are saved; this names the first number that is not finite:',
                  f'  python tools/replay_step.py {config} {saved}']
    lines += ['Look at', *(f'  - {one}' for one in diagnosis.advice())]
    return '\n'.join(lines)
