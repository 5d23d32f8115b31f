"""Masks: each chooses a region of one branch's images, once per step.

They are registered in mmseg's TRANSFORMS and run on batches, on the device.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmseg.registry import TRANSFORMS
from torch import Tensor, nn

from mmseg_camix.ops import masks as ops
from mmseg_camix.ops.global_batch import shared_draws

from .step import AdaptedModel, Step


class Mask(nn.Module):
    """Base of all masks: ``forward(step)`` returns a region (B, 1, H, W) bool.

    Args:
        of: the branch on whose images or labels the region is drawn. The target's labels are pseudo-labels. All masks
            have this argument.
    """

    def __init__(self, of: str = 'source') -> None:
        super().__init__()
        self.of = of

    @property
    def reads(self) -> tuple[str, ...]:
        """All branches that it reads."""
        return (self.of,)

    def bind(self, model: AdaptedModel) -> None:
        """Check what depends on the model; called once, when the model is built."""

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Read what is needed of the data set's metainfo (class names); called before training."""

    def forward(self, step: Step) -> Tensor:
        raise NotImplementedError


@TRANSFORMS.register_module()
class ClassMask(Mask):
    """ClassMix: the pixels of a random half, ceil(n / 2), of the n classes present.

    Deviations:
        Paper: half of the classes. Released code: rounds up, and counts void (255) as a class.
        Ours: rounds up; void is not a class (``count_ignore=True`` counts it).

    Args:
        ratio: share of the present classes to choose.
        pool: 'image' draws from each image's classes, 'batch' from the whole batch's (DAFormer).
        count_ignore: whether void is one of the classes.
    """

    def __init__(self, of: str = 'source', ratio: float = 0.5, pool: str = 'image', count_ignore: bool = False) -> None:
        super().__init__(of)
        if pool not in ('image', 'batch'):
            raise ValueError(f"pool='{pool}' must be 'image' or 'batch'")
        if not 0 <= ratio <= 1:
            raise ValueError(f'ratio={ratio} must lie in [0, 1]')
        self.ratio, self.pool, self.count_ignore = ratio, pool, count_ignore

    def forward(self, step: Step) -> Tensor:
        label = step.views[self.of].target.label
        return ops.class_mask(label, step.num_classes, step.generator, self.ratio,
                              step.ignore_index, self.count_ignore, self.pool, step.processes.average)


@TRANSFORMS.register_module()
class LabelledMask(Mask):
    """All pixels that have a label: the region of a patch whose surroundings are void."""

    def forward(self, step: Step) -> Tensor:
        return (step.views[self.of].target.label != step.ignore_index)[:, None]


@TRANSFORMS.register_module()
class PatchMask(ClassMask):
    """DSP's patch (Algorithm 1): half of a template's classes, and the pixels of long-tail classes.

    Args:
        of: the branch of the template images.
        rare: the branch of the long-tail patches, whose label is void elsewhere.
        ratio, pool, count_ignore: as in :class:`ClassMask`, for the template.
    """

    def __init__(self, of: str = 'donor', rare: str = 'rare', ratio: float = 0.5, pool: str = 'image',
                 count_ignore: bool = False) -> None:
        super().__init__(of, ratio, pool, count_ignore)
        self.rare = rare

    @property
    def reads(self) -> tuple[str, ...]:
        return self.of, self.rare

    def forward(self, step: Step) -> Tensor:
        rare = step.views[self.rare].target.label != step.ignore_index
        return super().forward(step) | rare[:, None]


@TRANSFORMS.register_module()
class BoxMask(Mask):
    """CutMix: one random box per image.

    Args:
        area: share of the image that the box covers.
        stride: corners are multiples of this many pixels.
    """

    def __init__(self, of: str = 'source', area: float = 0.5, stride: int = 1) -> None:
        super().__init__(of)
        if not 0 < area <= 1 or stride < 1:
            raise ValueError(f'area={area} must lie in (0, 1], stride={stride} must be at least 1')
        self.area, self.stride = area, stride

    def forward(self, step: Step) -> Tensor:
        image = step.views[self.of].image
        batch, _, height, width = image.shape
        return ops.box_mask(batch, height, width, step.generator, image.device, self.area, self.stride)


@TRANSFORMS.register_module()
class SquareMask(Mask):
    """One random square per image, in whole cells of the features (RCCR).

    Deviations:
        Paper: side and corner are multiples of 8, the stride of its network; nothing on how the side is drawn. Released
        code: one box for the whole batch (``per='batch'``), of a uniform area.
        Ours: one per image, multiples of the segmentor's stride.

    Args:
        area: range of the square's area, as a share of the square on the image's shorter side.
        stride: side and corner are multiples of this many pixels; None takes the stride of the coarsest map that an
            objective reads.
        per: 'image' for a square per image, 'batch' for the same square in all images.
    """

    def __init__(self, of: str = 'target', area: tuple[float, float] = (0.0, 1.0), stride: int | None = None,
                 per: str = 'image') -> None:
        super().__init__(of)
        if per not in ('image', 'batch'):
            raise ValueError(f"per='{per}' must be 'image' or 'batch'")
        if not 0 <= area[0] <= area[1] <= 1 or (stride is not None and stride < 1):
            raise ValueError(f'area={tuple(area)} must be an increasing range within [0, 1], stride={stride} at least '
                             '1, or None')
        self.area, self.stride, self.per = (area[0], area[1]), stride, per

    def forward(self, step: Step) -> Tensor:
        image = step.views[self.of].image
        batch, _, height, width = image.shape
        count = batch if self.per == 'image' else 1
        with nullcontext() if self.per == 'image' else shared_draws(step.generator):
            mask = ops.square_mask(count, height, width, step.generator, image.device, self.area,
                                   self.stride or step.stride)
        return mask.expand(batch, -1, -1, -1)


@TRANSFORMS.register_module()
class CowMask(Mask):
    """CowMix: smoothed noise above a threshold, with blotches as on a cow.

    Args:
        sigma: range of the smoothing, log-uniform, as a share of the image's shorter side.
        share: range of the covered share of the image.
    """

    def __init__(self, of: str = 'source', sigma: tuple[float, float] = (1 / 64, 1 / 16),
                 share: tuple[float, float] = (0.5, 0.5)) -> None:
        super().__init__(of)
        ops.cow_mask(1, 8, 8, torch.Generator(), sigma=sigma, share=share)  # refuses wrong ranges
        self.sigma, self.share = (sigma[0], sigma[1]), (share[0], share[1])

    def forward(self, step: Step) -> Tensor:
        image = step.views[self.of].image
        batch, _, height, width = image.shape
        return ops.cow_mask(batch, height, width, step.generator, image.device, self.sigma, self.share)
