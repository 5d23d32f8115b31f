"""The ResNet of DeepLabV2."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class DeepLabResNet(ResNet):
    """mmseg's ResNet at output stride 8, with DeepLabV2's pooling and normalisation.

    It differs from mmseg's default in three ways: the max pool rounds up, so that 512 pixels give 65 cells; the stride
    of a block is in its first 1x1 convolution (the layout of the caffe weights that are commonly used); and the affine
    part of normalisation is not trained, while its statistics are those of the batch.

    Args:
        depth: 18, 34, 50, 101 or 152.
        out_indices: stages whose output is returned, 0 to 3.
        style: 'caffe' has the stride in the 1x1 convolution; weights of torchvision need 'pytorch'.
        ceil_mode: whether the max pool rounds up.
        train_affine: whether scale and shift of normalisation are trained.
        norm_eval: True uses running statistics in training too.
        with_cp: recompute activations in the backward pass, to save memory.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    def __init__(self, depth: int = 101, out_indices: Sequence[int] = (0, 1, 2, 3), style: str = 'caffe',
                 ceil_mode: bool = True, train_affine: bool = False, norm_eval: bool = False,
                 with_cp: bool = False, init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        self.ceil_mode = ceil_mode
        super().__init__(
            depth, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), out_indices=tuple(out_indices), style=style,
            norm_cfg=dict(type='BN', requires_grad=train_affine), norm_eval=norm_eval, with_cp=with_cp,
            init_cfg=init_cfg)

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=self.ceil_mode)
