"""MIC's view: target images of which most blocks are blanked, or most tokens dropped, with the whole images' labels."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mmseg.registry import TRANSFORMS
from torch import Tensor

from mmseg_camix.ops.masks import block_mask, random_cells

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
        augment: the strong augmentation that is applied before, as in :class:`Augmented`.
    """

    def __init__(self, of: str = 'target', mask: str = 'blocks', augment: bool | Mapping[str, Any] = True) -> None:
        super().__init__(of, augment)
        self.mask: str = mask

    def bind(self, model: AdaptedModel) -> None:
        super().bind(model)
        branches = _origins(self.reads[0], model.views)
        if model.masks[self.mask].of not in branches:
            valid = [name for name, mask in model.masks.items() if mask.of in branches]
            raise ValueError(f"mask '{self.mask}' is of '{model.masks[self.mask].of}', but the view shows "
                             f"'{self.reads[0]}'. Available: {listed(valid)}")

    def finish(self, view: View, step: Step) -> View:
        kept, valid = step.masks[self.mask], step.valid_mask(self.reads[0], view.image)
        kept = kept if valid is None else kept & valid[:, None]
        return replace(view, image=view.image.masked_fill(~kept, 0))


@TRANSFORMS.register_module()
class DroppedTokens(Augmented):
    """A branch or view, augmented, of which a ViT gets a random part of the tokens, with the labels of the whole image.

    The other tokens are dropped after the patch embedding, so that the pass through the backbone is cheaper by their
    share (PatchDropout: Liu et al., WACV 2023). Their features are 0; the decoder predicts them from the surroundings.

    Deviations:
        VFM-UDA: replaces the tokens by DINOv2's mask token. VFM-UDA++: its released code blanks blocks of 64 pixels,
        because the ViT adapter needs all tokens. Ours: exactly the rounded share of each image's tokens is dropped.

    Args:
        of: name of the branch or view.
        ratio: share of the tokens that is dropped, in [0, 1); at least one is kept.
        augment: the strong augmentation that is applied before, as in :class:`Augmented`.
    """

    def __init__(self, of: str = 'target', ratio: float = 0.7, augment: bool | Mapping[str, Any] = True) -> None:
        super().__init__(of, augment)
        if not 0 <= ratio < 1:
            raise ValueError(f'ratio={ratio} must lie in [0, 1); at 1 nothing of the image is left')
        self.ratio = ratio
        self._count_tokens: Callable[[int, int], int] | None = None

    def bind(self, model: AdaptedModel) -> None:
        """Check that the backbone runs on some of its tokens, and that nothing else reads this view."""
        super().bind(model)
        backbone: Any = getattr(model.student, 'backbone', None)
        if hasattr(model.student, 'outputs') or not getattr(backbone, 'drops_tokens', False):
            raise ValueError(f'tokens can be dropped in the backbone TimmViT of an EncoderDecoder only, not in '
                             f"{type(backbone).__name__} of {type(model.student).__name__}; blank pixels instead, with "
                             "type='Masked' and masks=dict(blocks=dict(type='BlockMask'))")
        self._count_tokens = backbone.count_tokens
        name = next(name for name, view in model.views.items() if view is self)
        if any(name in group for group in model.joint_views):
            valid = [other for other in model.views if other != name]
            raise ValueError(f"'{name}' passes through the student by itself; joint_views may have {listed(valid)}")
        if readers := [other for other, view in model.views.items() if name in view.reads]:
            raise ValueError(f"views cannot be made of '{name}', whose tokens are dropped in the backbone, but "
                             f'{listed(readers)} reads it; read {self.reads[0]}')

    def finish(self, view: View, step: Step) -> View:
        assert self._count_tokens is not None
        batch, _, height, width = view.image.shape
        cells = self._count_tokens(height, width)
        count = max(1, round(cells * (1 - self.ratio)))
        return replace(view, kept=random_cells(batch, cells, count, step.generator, view.image.device))


def _origins(name: str, views: Mapping[str, Any]) -> set[str]:
    """The branches that a view is made of."""
    return {name} if name not in views else set().union(*(_origins(other, views) for other in views[name].reads))
