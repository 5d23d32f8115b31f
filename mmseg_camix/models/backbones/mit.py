"""Mix Transformers (the encoder of SegFormer) by their names."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones import MixVisionTransformer
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from mmseg.registry import MODELS
from torch import nn

# Variant -> channels of the first stage, blocks of each stage.
VARIANTS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    'b0': (32, (2, 2, 2, 2)),
    'b1': (64, (2, 2, 2, 2)),
    'b2': (64, (3, 4, 6, 3)),
    'b3': (64, (3, 4, 18, 3)),
    'b4': (64, (3, 8, 27, 3)),
    'b5': (64, (3, 6, 40, 3)),
}
_HEADS = (1, 2, 5, 8)


@MODELS.register_module()
class MiT(MixVisionTransformer):
    """mmseg's MixVisionTransformer as MiT-B0 to MiT-B5, at strides 4, 8, 16, 32.

    Attention does not return its weights, which nothing reads. It therefore uses the fused kernel and does not store
    weights of 16384 x 256 pairs at 512x512 pixels.

    Args:
        variant: 'b0' to 'b5'.
        drop_path_rate: share of residual branches dropped in the last block; it increases from 0 over the blocks.
        out_indices: stages whose output is returned, 0 to 3.
        with_cp: recompute activations in the backward pass, to save memory.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    def __init__(self, variant: str = 'b5', drop_path_rate: float = 0.1,
                 out_indices: Sequence[int] = (0, 1, 2, 3), with_cp: bool = False,
                 init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"MiT: variant='{variant}' must be one of {', '.join(VARIANTS)}")
        arguments = self.as_stock(variant, drop_path_rate, out_indices, with_cp)
        del arguments['type']
        super().__init__(**arguments, init_cfg=init_cfg)
        self.out_channels = tuple(self.embed_dims * _HEADS[i] for i in out_indices)
        for module in self.modules():
            if isinstance(module, EfficientMultiheadAttention):
                module.attn.register_forward_pre_hook(_without_weights, with_kwargs=True)

    @staticmethod
    def as_stock(variant: str = 'b5', drop_path_rate: float = 0.1, out_indices: Sequence[int] = (0, 1, 2, 3),
                 with_cp: bool = False) -> dict[str, Any]:
        """mmseg's config of the same network, with the same names of weights; what export writes."""
        width, depths = VARIANTS[variant]
        return dict(type='MixVisionTransformer', embed_dims=width, num_layers=list(depths), num_heads=list(_HEADS),
                    drop_path_rate=drop_path_rate, out_indices=tuple(out_indices), with_cp=with_cp)

    @property
    def num_layers_of_decay(self) -> int:
        """Number of blocks, for layer-wise decay of the learning rate."""
        return sum(self.num_layers)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the stem, k the k-th block."""
        stage, part, *rest = name.removeprefix('layers.').split('.')
        before = sum(self.num_layers[:int(stage)])
        if part == '0':  # a stage's patch embedding belongs to the blocks before it
            return before
        return before + (int(rest[0]) + 1 if part == '1' else self.num_layers[int(stage)])


def _without_weights(module: nn.Module, args: tuple[Any, ...],
                     kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, dict(kwargs, need_weights=False)
