"""Objectives: each is a loss on one view."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from mmengine.dist import is_distributed
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import losses as ops
from mmseg_camix.ops.schedules import Schedule, build_schedule

from . import adapter
from .step import AdaptedModel, Progress, Step, Target, View

Weight: TypeAlias = float | dict[str, Any] | Schedule

# Points of a training at which a weight is checked when the model is built.
_CHECKED_ITERATIONS = range(0, 200_001, 2_000)


class Objective(nn.Module):
    """Base of all objectives: ``forward(step, student)`` returns named losses.

    Args:
        view: the view whose predictions or features are compared. All objectives have this argument, and the next.
        weight: factor of the loss; a number or a schedule of the iteration, at least 0.
    """

    needs_logits = True
    """Whether the student's head runs on the view for this objective."""
    needs_probs = False
    """Whether targets must carry class distributions."""
    mask: str | None = None
    """A mask that it reads: its name in the table of masks."""
    needs_teacher_features = False
    """Whether the teacher's features of the target images must be kept."""
    stride: int | None = None
    """Pixels per cell of the features that it compares, set by :meth:`bind`; None if it compares none."""

    def __init__(self, view: str, weight: Weight = 1.0) -> None:
        super().__init__()
        self.view = view
        self.name = type(self).__name__
        self.weight = build_schedule(weight)
        for iteration in _CHECKED_ITERATIONS:
            value = self.weight(iteration, _CHECKED_ITERATIONS[-1])
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'weight={weight} is {value} at {iteration / _CHECKED_ITERATIONS[-1]:.0%} of the '
                                 'training; it must be at least 0')

    def bind(self, model: AdaptedModel) -> None:
        """Build what depends on the segmentor; called once, when the model is built."""

    def restart(self) -> None:
        """Discard loaded state of another training; called before :meth:`prepare` unless the training is resumed."""

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Read what is needed of the data set's metainfo (class names); called before training."""

    def active(self, progress: Progress) -> bool:
        """Whether it is computed at this point of the training; if not, its view is not computed for it."""
        return True

    def idle(self) -> dict[str, Tensor]:
        """Losses while it is not active: 0 times its parameters, because DDP waits for a gradient of each."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not trained or not is_distributed():
            return {}
        return dict(loss_idle=torch.stack([0 * parameter.sum() for parameter in trained]).sum())

    def after_step(self) -> None:
        """Called after each step of the optimiser, when the teacher has moved."""

    @property
    def reads(self) -> tuple[str, ...]:
        """All views that must pass through the student for it."""
        return (self.view,)

    def forward(self, step: Step, student: nn.Module) -> adapter.Losses:
        raise NotImplementedError

    def weight_at(self, step: Step) -> float:
        """The weight at this step."""
        return float(self.weight(step.progress.iteration, step.progress.max_iters))


@MODELS.register_module()
class SupervisedLoss(Objective):
    """The segmentor's own losses, auxiliary heads included, on a branch or on a view with one hard target."""

    needs_logits = False

    def __init__(self, view: str = 'source', weight: Weight = 1.0) -> None:
        super().__init__(view, weight)

    def forward(self, step: Step, student: nn.Module) -> adapter.Losses:
        view, student_pass = step.views[self.view], step.passes[self.view]
        samples = view.samples or adapter.samples_of(view.target.label)
        losses = adapter.supervised_losses(student, student_pass.features, samples, student_pass.outputs)
        return adapter.scale_losses(losses, self.weight_at(step))


class PixelObjective(Objective):
    """Base of losses that compare each of the student's outputs with each target of a view, pixel by pixel."""

    loss_name = 'loss'

    def forward(self, step: Step, student: nn.Module) -> adapter.Losses:
        view, total = step.views[self.view], torch.zeros(())
        for output in step.passes[self.view].outputs:
            for target in view.targets:
                part = target.cropped(output.box)
                total = total + output.weight * self.compare(output.logits, part, _weight(view, part), step)
        return {self.loss_name: total * self.weight_at(step)}

    def compare(self, logits: Tensor, target: Target, weight: Tensor, step: Step) -> Tensor:
        """logits (B, C, h, w) against one target whose pixels have the weight ``weight``, (B, H, W)."""
        raise NotImplementedError


def _weight(view: View, target: Target) -> Tensor:
    return target.weight if view.scale is None else target.weight * view.scale


@MODELS.register_module()
class PixelCrossEntropy(PixelObjective):
    """Cross-entropy x weight.

    Args:
        normalise: 'pixels' is the mean over all B*H*W pixels (the DACS family), 'valid' over those with a label,
            'weight' divides by the sum of the pixels' weights.
    """

    loss_name = 'loss_ce'

    def __init__(self, view: str, weight: Weight = 1.0, normalise: str = 'pixels') -> None:
        super().__init__(view, weight)
        if normalise not in ops.NORMALISERS:
            raise ValueError(f"normalise='{normalise}' must be one of {', '.join(ops.NORMALISERS)}")
        self.normalise = normalise

    def compare(self, logits: Tensor, target: Target, weight: Tensor, step: Step) -> Tensor:
        return ops.pixel_cross_entropy(logits, target.label, weight, step.ignore_index, step.align_corners,
                                       self.normalise, average=step.processes.average)


@MODELS.register_module()
class SignificanceCrossEntropy(PixelObjective):
    """CAMix's SRC loss, Eq. 9: sum(U q CE) / sum(U), over the pixels that are significant.

    Deviations:
        Paper: sum(U CE) / sum(U), times the adaptive lambda of DACS. Released code: the criterion returns a mean, so
        that mask and division cancel (:class:`PixelCrossEntropy` is that).
        Ours: the paper's, with q on target pixels within the sum; 0 with gradient 0 where sum(U) = 0.
    """

    loss_name = 'loss_src'

    def compare(self, logits: Tensor, target: Target, weight: Tensor, step: Step) -> Tensor:
        significance = target.all_significance
        return ops.pixel_cross_entropy(logits, target.label, weight * significance, step.ignore_index,
                                       step.align_corners, 'weight', significance, step.processes.average)


@MODELS.register_module()
class PixelMSE(PixelObjective):
    """Squared difference of the student's and the target's class distribution, x weight.

    Summed over the classes, mean over the pixels, so that its size does not depend on the number of classes.
    """

    needs_probs = True
    loss_name = 'loss_mse'

    def compare(self, logits: Tensor, target: Target, weight: Tensor, step: Step) -> Tensor:
        if target.probs is None:
            raise ValueError(f"view '{self.view}' carries no class distribution to compare with")
        valid = target.label != step.ignore_index
        return step.num_classes * ops.probability_mse(logits, target.probs, weight * valid, step.align_corners)
