"""Plain vision transformers of timm: DINOv2, DINOv3, MAE, CLIP, EVA, ..."""

from collections.abc import Sequence
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from .pyramid import SimplePyramid
from .timm_base import TimmBackbone, in_order


@MODELS.register_module()
class TimmViT(TimmBackbone):
    """A plain ViT of timm with a simple feature pyramid, at four strides as any backbone.

    Accepts images of any size: the position embedding is interpolated (DINOv3 computes its own), and images are resized
    to the next multiple of the patch, so that maps cover them exactly (patches of 14 pixels: 512 becomes 518).

    Args:
        name: timm's name, e.g. 'vit_large_patch14_dinov2' or 'vit_base_patch16_dinov3'.
        blocks: ascending indices of the blocks whose output is used, from 0 or (negative) from the end: one for all
            four scales, or one for each. Later blocks are removed.
        pyramid: False returns the maps of `blocks` unchanged, all at the patch's stride.
        norm: whether the network's last normalisation is applied to each map.
        pretrained: True downloads timm's weights when weights are initialised.
        frozen: the transformer is not trained; the pyramid is.
        drop_path_rate: stochastic depth of the last block.
        arguments: further arguments of the network, as timm has them.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    starts_at_random = ('pyramid.',)

    def __init__(self, name: str, blocks: Sequence[int] = (-1,), pyramid: bool = True, norm: bool = True,
                 pretrained: bool = False, frozen: bool = False, drop_path_rate: float = 0.0,
                 arguments: dict[str, Any] | None = None, init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        options = dict(dynamic_img_size=True, drop_path_rate=drop_path_rate) | dict(arguments or {})
        super().__init__(name, pretrained, frozen, options, init_cfg)
        self.blocks = in_order(blocks, len(self.network.blocks), f'{name}: blocks')
        if pyramid and len(self.blocks) not in (1, 4):
            raise ValueError(f'TimmViT: the pyramid has 4 scales and needs 1 or 4 blocks, not {len(self.blocks)}')
        # Later blocks and the pooling would have parameters without gradients.
        self.network.prune_intermediate_layers(list(self.blocks), prune_norm=not norm)
        self.norm, self.patch = norm, tuple(self.network.patch_embed.feat_ratio(as_scalar=False))
        self.multiple = self.patch
        width = self.network.embed_dim
        self.pyramid = SimplePyramid(width) if pyramid else None
        # Indices of maps made by layers that start with random weights.
        self.fresh_maps = (0, 1, -4, -3) if pyramid else ()
        self.out_channels = (width,) * (4 if pyramid else len(self.blocks))
        rescales = SimplePyramid.rescales if pyramid else (1.0,) * len(self.blocks)
        self.out_strides = tuple(self.patch[0] / scale for scale in rescales)

    def _create(self, pretrained: bool = False) -> Any:
        try:
            network = super()._create(pretrained)
        except TypeError as error:
            if 'dynamic_img_size' not in str(error):
                raise
            network = None
        if all(hasattr(network, part) for part in ('forward_intermediates', 'prune_intermediate_layers', 'blocks')):
            return network
        raise ValueError(f"'{self.name}' is not a plain vision transformer for images of any size; use TimmFeatures("
                         f"name='{self.name}'), with arguments=dict(img_size=CROP) where its size is fixed")

    def run(self, image: Tensor) -> list[Tensor]:
        return list(self.network.forward_intermediates(
            image, indices=list(self.blocks), norm=self.norm, output_fmt='NCHW', intermediates_only=True))

    def finish(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(features) if self.pyramid is None else self.pyramid(features)

    @property
    def num_layers_of_decay(self) -> int:
        """Number of blocks, for layer-wise decay of the learning rate."""
        return len(self.network.blocks)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the embeddings, k the k-th block, last the pyramid."""
        part, *rest = name.removeprefix('network.').split('.')
        if part == 'blocks':
            return int(rest[0]) + 1
        if part == 'pyramid':
            return self.num_layers_of_decay + 1
        return self.num_layers_of_decay if part in ('norm', 'fc_norm') else 0
