"""One backward pass for each group of views, so that one group's graph is in memory at a time.

The gradients are computed within the forward pass of the model, and the loss that it returns carries them: its own
backward pass only multiplies them by the incoming gradient and passes them on. mmengine's `train_step`, and with it
DDP, accumulation, loss scaling and clipping, therefore work as with one summed loss, and each parameter receives one
gradient per iteration, which DDP reduces once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .. import adapter
from ..objectives import Objective
from ..step import StudentPass

MODES = ('summed', 'each')
Pass = tuple[tuple[str, ...], bool]
"""Views that pass through the student as one batch, and whether logits are needed on one of them."""


class Part(NamedTuple):
    """Passes of the student, and all objectives that read them."""

    passes: list[Pass]
    objectives: list[str]


def independent_parts(passes: Iterable[Pass], objectives: Mapping[str, Objective]) -> list[Part]:
    """The smallest parts of a step such that no objective reads passes of two parts, in the order of the passes."""
    parts = [Part([entry], []) for entry in passes]
    for name, objective in objectives.items():
        read = [part for part in parts if any(view in objective.reads for views, _ in part.passes for view in views)]
        merged = Part([entry for part in read for entry in part.passes],
                      [*(other for part in read for other in part.objectives), name])
        parts = [merged if part is read[0] else part for part in parts if part is read[0] or part not in read]
    return parts


class GradientSum:
    """The sum of the gradients of several losses, whose graphs are freed one by one.

    Args:
        module: whose trained parameters get the gradients.
        scaler: the `GradScaler` of mixed precision, without whose scale gradients of fp16 activations would vanish.
    """

    def __init__(self, module: nn.Module, scaler: Any = None) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._sums: dict[int, Tensor] = {}
        self._scaler = scaler

    def add(self, losses: adapter.Losses) -> adapter.Losses:
        """Back-propagate the sum of the losses; returns them without their graph."""
        total = sum(_mean(value) for name, value in losses.items() if 'loss' in name)
        if isinstance(total, Tensor) and total.requires_grad:
            self._back_propagate(total if self._scaler is None else self._scaler.scale(total))
        return {name: _without_graph(value) for name, value in losses.items()}

    def _back_propagate(self, total: Tensor) -> None:
        with torch.autocast(total.device.type, enabled=False):  # the operations of the forward pass determine the types
            gradients = torch.autograd.grad(total, self._parameters, allow_unused=True)
        new = {index: gradient for index, gradient in enumerate(gradients) if gradient is not None}
        # Not in place: autograd may return one tensor for several parameters, or an expanded one.
        if both := [index for index in new if index in self._sums]:
            new.update(zip(both, torch._foreach_add([self._sums[i] for i in both], [new[i] for i in both])))
        self._sums |= new

    def attach(self, losses: adapter.Losses) -> adapter.Losses:
        """The losses, of which one carries the gradients of all that were added."""
        carrier = next((name for name in losses if 'loss' in name), None)
        if carrier is None or not self._sums:
            return losses
        value = _mean(losses[carrier])
        scale = torch.ones_like(value) if self._scaler is None else self._scaler.scale(torch.ones_like(value))
        parameters = [self._parameters[index] for index in self._sums]
        gradients, self._sums = list(self._sums.values()), {}
        return losses | {carrier: _Finished.apply(value, scale, gradients, *parameters)}


class _Finished(torch.autograd.Function):
    """The identity of a scalar, with given gradients of parameters, which are multiplied by ``scale``."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients, ctx.scale = gradients, scale
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("backward='each': the gradients of a step have been used; there is no second pass")
        # The scale cancels, an accumulation's share stays.
        return None, None, None, *torch._foreach_mul(gradients, incoming / ctx.scale)


def finished(student_pass: StudentPass) -> StudentPass:
    """What hooks may still read of a pass: its outputs, without their graph."""
    return StudentPass(None, tuple(replace(output, logits=output.logits.detach()) for output in student_pass.outputs))


def _mean(value: Tensor | list[Tensor]) -> Any:
    """What mmengine's `parse_losses` adds to the total."""
    return value.mean() if isinstance(value, Tensor) else sum(item.mean() for item in value)


def _without_graph(value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return value.detach() if isinstance(value, Tensor) else [item.detach() for item in value]
