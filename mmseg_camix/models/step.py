"""The data of one training step: progress, views with their targets, the student's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from mmseg_camix.ops.boxes import Box
from mmseg_camix.ops.pseudo import valid_mask

from .adapter import Features, Output
from .processes import Processes
from .teacher import EMATeacher


@dataclass(frozen=True)
class Progress:
    """How far the training is; every schedule and every random draw of a step derives from it."""

    iteration: int = 0
    max_iters: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """What the student should predict at each pixel.

    A view may hold several targets for one image: a soft paste has the donor's and the recipient's label at the same
    pixel, each with its share of the weight.
    """

    label: Tensor
    """(B, H, W) long, ``ignore_index`` where there is no target."""
    weight: Tensor
    """(B, H, W) float, confidence in the label; 1 on ground truth."""
    probs: Tensor | None = None
    """(B, C, H, W) class distribution, kept only if an objective compares distributions."""
    significance: Tensor | None = None
    """(B, H, W) float in {0, 1}; None means 1 everywhere (the paper's U)."""

    @property
    def all_significance(self) -> Tensor:
        """`significance`, or 1 everywhere."""
        return torch.ones_like(self.weight) if self.significance is None else self.significance

    def scaled(self, share: Tensor) -> Self:
        """The same target with its weight multiplied by ``share``, (B, H, W) float."""
        return replace(self, weight=self.weight * share)

    def cropped(self, box: Box | None) -> Self:
        """The target inside the box; None returns all of it."""
        if box is None:
            return self
        probs, significance = (None if value is None else box.crop(value) for value in (self.probs, self.significance))
        return replace(self, label=box.crop(self.label), weight=box.crop(self.weight), probs=probs,
                       significance=significance)


@dataclass(frozen=True)
class View:
    """A batch of images for the student."""

    image: Tensor
    """(B, 3, H, W) float, normalised as the segmentor expects it."""
    targets: tuple[Target, ...]
    scale: Tensor | None = None
    """(B, 1, 1) factor on the whole loss of each image; None means 1."""
    samples: list[Any] | None = None
    """The data samples, if the view is an unchanged branch of the data set."""
    kept: Tensor | None = None
    """(B, K) long, ascending: the tokens of each image on which the student's backbone runs; None for all."""

    @property
    def target(self) -> Target:
        """The only target; raises if the view has several."""
        if len(self.targets) != 1:
            raise ValueError(
                f'this view has {len(self.targets)} weighted targets (soft paste), but the '
                'objective or view that reads it can only use one')
        return self.targets[0]


@dataclass
class StudentPass:
    """The student's features and outputs on one view, which all objectives share."""

    features: Features
    outputs: tuple[Output, ...] = ()
    """The first one is the prediction for the whole image; none if no objective needs logits."""

    @property
    def logits(self) -> Tensor | None:
        """(B, C, h, w) of the prediction; None if no objective needs logits."""
        return self.outputs[0].logits if self.outputs else None


@dataclass
class Step:
    """All that a training step has computed so far, filled in the order of the algorithm."""

    progress: Progress
    num_classes: int
    ignore_index: int
    align_corners: bool
    generator: torch.Generator
    """On the images' device; draws masks."""
    cpu_generator: torch.Generator
    """Draws what must be known on the host (augmentation gates) without waiting for the device."""
    images: Mapping[str, Tensor] = field(default_factory=dict)
    """Branch -> (B, 3, H, W) as the data set delivers it."""
    samples: Mapping[str, list[Any]] = field(default_factory=dict)
    """Branch -> data samples, whose metainfo holds each crop's place in its image."""
    views: dict[str, View] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    passes: dict[str, StudentPass] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)
    """Logged, never back-propagated; names must not contain ``loss``."""
    teacher: EMATeacher | None = None
    """Maps images (B, 3, H, W) to logits (B, C, h, w)."""
    teacher_logits: Tensor | None = None
    """(B, C, h, w) of the target images."""
    teacher_features: Features = None
    """The teacher's feature maps of the target images, if an objective needs them."""
    context_label: Tensor | None = None
    """(B, H, W), the label of the target images from which the contextual mask was cut."""
    stride: int = 1
    """Pixels per cell of the coarsest map that an objective reads."""
    processes: Processes = field(default_factory=Processes)
    """Those whose images make one batch; only this one, unless the model has ``global_batch=True``."""

    def valid_mask(self, branch: str, image: Tensor) -> Tensor | None:
        """(B, H, W) bool, False where an image of the branch was padded to the crop; None if none was."""
        size = (image.shape[2], image.shape[3])
        shapes = [tuple(sample.metainfo.get('img_shape', size)[:2]) for sample in self.samples.get(branch, [])]
        return None if all(shape == size for shape in shapes) else valid_mask(shapes, size, image.device)


class AdaptedModel(Protocol):
    """What objectives may read of the model that they are bound to."""

    student: nn.Module
    teacher: EMATeacher | None
    masks: Mapping[str, Any]
    views: Mapping[str, Any]
    num_classes: int
    crop_size: tuple[int, int] | None
    global_batch: bool
    joint_views: Sequence[Sequence[str]]
    data_preprocessor: Any
