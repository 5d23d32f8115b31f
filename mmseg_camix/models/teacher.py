"""The mean teacher: an exponential moving average of the student."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_camix.ops.ema import ema_alpha, ema_update_

from . import adapter

NORM_MODES = ('batch', 'running')


class EMATeacher(nn.Module):
    """A copy of the student that follows it: theta' <- a_t theta' + (1 - a_t) theta.

    a_t = min(1 - 1 / (t + 1), alpha), so that the first steps average evenly. The number of steps is a buffer: a
    resumed training continues with it.

    Deviations:
        Papers: silent about the teacher's normalisation layers. Released code (DACS family): the teacher stays in train
        mode, so its pseudo-labels use the statistics of the target batch, and only parameters are averaged. DAFormer:
        dropout and drop-path off.
        Ours: ``norm='batch'`` keeps that (normalisation in train mode, everything else in eval mode, buffers not
        averaged: the teacher's own running statistics are the target's, and are used in testing). ``norm='running'``
        uses running statistics and copies the student's buffers.

    Args:
        alpha: upper bound of the decay.
        norm: 'batch' or 'running'.
    """

    steps: Tensor

    def __init__(self, student: nn.Module, alpha: float = 0.99, norm: str = 'batch') -> None:
        super().__init__()
        if norm not in NORM_MODES:
            raise ValueError(f"norm='{norm}' is not one of {', '.join(NORM_MODES)}")
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha={alpha} must lie in [0, 1]')
        self.alpha = alpha
        self.norm = norm
        self.model = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        # Copy of `steps` on the host: reading the buffer would wait for the device every step.
        self._steps_made: int | None = None

    @property
    def steps_made(self) -> int:
        """Number of updates so far."""
        if self._steps_made is None:
            self._steps_made = int(self.steps)
        return self._steps_made

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) to logits (B, C, h, w), at the head's own resolution."""
        return self.features_and_logits(image)[1]

    def features_and_logits(self, image: Tensor) -> tuple[adapter.Features, Tensor]:
        """Features and logits of image, (B, 3, H, W)."""
        features = adapter.extract(self.model, image)
        return features, adapter.decode(self.model, features)

    def train(self, mode: bool = True) -> Self:
        """Set the teacher's mode.

        The train loop calls ``model.train()`` before each iteration, which would switch dropout on, so that setting the
        mode once after construction is not enough.
        """
        super().train(mode and self.norm == 'batch')
        if self.norm == 'batch':
            for module in self.model.modules():
                module.training &= isinstance(module, _NormBase)
        return self

    @torch.no_grad()
    def copy_student(self, student: nn.Module) -> None:
        """Copy the student's parameters and buffers."""
        self.model.load_state_dict(student.state_dict())

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move one step towards the student: fused over all parameters, without waiting for the device."""
        steps_made = self.steps_made
        alpha = ema_alpha(steps_made, self.alpha)
        ema_update_(list(self.model.parameters()), [p.detach() for p in student.parameters()], alpha)
        if self.norm == 'running':
            for own, other in zip(self.model.buffers(), student.buffers()):
                own.copy_(other)
        self.steps += 1
        self._steps_made = steps_made + 1

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._steps_made = None
