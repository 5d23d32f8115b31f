"""MIC's view: target images of which most blocks are blanked, with the labels of the whole images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmseg.registry import TRANSFORMS
from torch import Tensor

from mmseg_camix.ops.masks import block_mask

from .building import listed
from .masks import Mask
from .step import AdaptedModel, Step, View
from .views import Augmented


@TRANSFORMS.register_module()
class BlockMask(Mask):
    """Random square blocks, each kept with probability 1 - ratio (MIC).

    Args:
        of: the branch whose size is used.
        block: side of a block in pixels, at most the crop's shorter side. None takes a sixteenth of it, which is the
            paper's: 64 in crops of 1024x1024, 32 in crops of 512x512.
        ratio: probability of a block to be blanked, in [0, 1).
    """

    def __init__(self, of: str = 'target', block: int | None = None, ratio: float = 0.7) -> None:
        super().__init__(of)
        if not 0 <= ratio < 1:
            raise ValueError(f'ratio={ratio} must lie in [0, 1); at 1 nothing of the image is left')
        if block is not None and block < 1:
            raise ValueError(f'block={block} must be at least 1 pixel')
        self.block, self.ratio = block, ratio

    def bind(self, model: AdaptedModel) -> None:
        if model.crop_size is not None and (self.block or 1) > min(model.crop_size):
            raise ValueError(f'block={self.block} must be at most {min(model.crop_size)}, the shorter side of the crop')

    def forward(self, step: Step) -> Tensor:
        image = step.views[self.of].image
        batch, _, height, width = image.shape
        block = self.block or max(1, round(min(height, width) / 16))
        return block_mask(batch, height, width, step.generator, image.device, block, self.ratio)


@TRANSFORMS.register_module()
class Masked(Augmented):
    """A branch or view, augmented, then blanked outside of a mask; labels and weights stay those of the whole image.

    Blanked pixels are 0 after normalisation, which is the mean colour. Padding is blanked, too.

    Args:
        of: name of the branch or view.
        mask: the region that is kept, by its name in the table of masks.
        augment: whether the strong augmentation is applied before.
    """

    def __init__(self, of: str = 'target', mask: str = 'blocks', augment: bool = True) -> None:
        super().__init__(of)
        self.mask: str = mask
        self.augment = augment

    def bind(self, model: AdaptedModel) -> None:
        branches = _origins(self.reads[0], model.views)
        if model.masks[self.mask].of not in branches:
            valid = [name for name, mask in model.masks.items() if mask.of in branches]
            raise ValueError(f"mask '{self.mask}' is of '{model.masks[self.mask].of}', but the view shows "
                             f"'{self.reads[0]}'. Available: {listed(valid)}")

    def finish(self, view: View, step: Step) -> View:
        kept, valid = step.masks[self.mask], step.valid_mask(self.reads[0], view.image)
        kept = kept if valid is None else kept & valid[:, None]
        return replace(view, image=view.image.masked_fill(~kept, 0))


def _origins(name: str, views: Mapping[str, Any]) -> set[str]:
    """The branches that a view is made of."""
    return {name} if name not in views else set().union(*(_origins(other, views) for other in views[name].reads))
