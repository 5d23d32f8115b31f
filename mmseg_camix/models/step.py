"""What one training step works with: domains, views, student passes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmseg_camix.ops.pseudo import valid_mask

from .processes import Processes

if TYPE_CHECKING:
    from .teacher import EMATeacher


@dataclass(frozen=True)
class Progress:
    """Where the training stands; every schedule and every random draw of a step derives from it."""

    iteration: int = 0
    max_iters: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """What is asked of the student at each pixel.

    A view may hold several targets for one image: a soft paste asks for the donor's and the
    recipient's label at the same pixel, each with its share of the weight.
    """

    label: Tensor
    """(B, H, W) long, ``ignore_index`` where nothing is asked."""
    weight: Tensor
    """(B, H, W) float, confidence in the label; 1 on ground truth."""
    probs: Tensor | None = None
    """(B, C, H, W) class distribution, kept only if an objective compares distributions."""
    significance: Tensor | None = None
    """(B, H, W) float in {0, 1}; None means 1 everywhere (the paper's U)."""

    def scaled(self, share: Tensor) -> Target:
        """The same target with its weight multiplied by ``share``, (B, H, W) float."""
        return replace(self, weight=self.weight * share)


@dataclass(frozen=True)
class View:
    """An image batch as the student sees it."""

    image: Tensor
    """(B, 3, H, W) float, normalised as the segmentor wants it."""
    targets: tuple[Target, ...]
    scale: Tensor | None = None
    """(B, 1, 1) factor on the whole loss of each image; None means 1."""
    samples: list | None = None
    """The data samples, where the view is a branch of the data set as it came."""

    @property
    def target(self) -> Target:
        """The only target; an error if the view asks for several things at a pixel."""
        if len(self.targets) != 1:
            raise ValueError(
                f'this view has {len(self.targets)} weighted targets (soft paste), but the '
                'objective or view that reads it can only use one')
        return self.targets[0]


@dataclass
class StudentPass:
    """The student's output on one view: its features are shared by all objectives."""

    features: object
    logits: Tensor | None = None
    """(B, C, h, w), at the head's own resolution; None where no objective asks for it."""


@dataclass
class Step:
    """All that a training step has worked out so far, filled in the order of the algorithm."""

    progress: Progress
    num_classes: int
    ignore_index: int
    align_corners: bool
    generator: torch.Generator
    """On the images' device; draws masks."""
    cpu_generator: torch.Generator
    """Draws what must be known on the host (augmentation gates) without waiting for the device."""
    views: dict[str, View] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    passes: dict[str, StudentPass] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)
    """Logged, never back-propagated; names must not contain ``loss``."""
    samples: dict[str, list] = field(default_factory=dict)
    """Branch -> data samples, whose metainfo tells each crop's place in its image."""
    teacher_logits: Tensor | None = None
    """(B, C, h, w) of the target images."""
    teacher_features: object = None
    """The maps of the teacher's backbone (or neck) on the target images, if an objective asks for them."""
    stride: int = 1
    """Pixels per cell of the coarsest map that an objective looks at."""
    processes: Processes = field(default_factory=Processes)
    """Those whose images make one batch; this one alone, unless the model has ``global_batch=True``."""
    teacher: EMATeacher | None = None
    """Takes images (B, 3, H, W) to logits (B, C, h, w), for those that ask it again."""

    def shown(self, branch: str, image: Tensor) -> Tensor | None:
        """(B, H, W) bool, False where an image of the branch was padded to the crop; None if none was."""
        size = tuple(image.shape[2:])
        shapes = [tuple(sample.metainfo.get('img_shape', size)[:2]) for sample in self.samples.get(branch, [])]
        return None if all(shape == size for shape in shapes) else valid_mask(shapes, size, image.device)
