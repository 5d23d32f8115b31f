"""The backbones of DeepLabV2: ResNet and VGG-16."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import Tensor, nn


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


# Channels of VGG-16's convolutions; 'M' halves the resolution.
_PLAN = (64, 64, 'M', 128, 128, 'M', 256, 256, 256, 'M', 512, 512, 512, 'M', 512, 512, 512, 'M')
# The last two max pools are omitted; the convolutions after the first of them are dilated instead.
_POOLS = 3


@MODELS.register_module()
class DeepLabVGG16(BaseModule):
    """VGG-16 at output stride 8, its first fully connected layer as a dilated convolution.

    The network of the CAMix paper's Fig. 9. The fourth and fifth max pool are omitted, the fifth block has dilation 2,
    `fc6` and `fc7` are 3x3 convolutions with dilation 4. The names of `features` are those of torchvision, whose
    weights fit; `fc6` and `fc7` start with random weights.

    Args:
        fc_channels: channels of `fc6` and `fc7`.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    family = 'vgg'
    starts_at_random = ('fc6.', 'fc7.')
    fresh_maps = (0, -1)  # indices of maps made by these layers

    def __init__(self, fc_channels: int = 1024, init_cfg: dict[str, Any] | list[Any] | None = None) -> None:
        super().__init__(init_cfg if init_cfg is not None else dict(type='Kaiming', layer='Conv2d'))
        self.features = nn.Sequential(_features())
        self.fc6 = nn.Conv2d(512, fc_channels, 3, padding=4, dilation=4)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 3, padding=4, dilation=4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """image (B, 3, H, W) to one map (B, fc_channels, H / 8, W / 8)."""
        x = self.features(image)
        return (self.relu(self.fc7(self.relu(self.fc6(x)))),)


def _features() -> OrderedDict[str, nn.Module]:
    """The convolutional part, each module under its number in torchvision's VGG-16."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number, pools = 3, 0, 0
    for width in _PLAN:
        if isinstance(width, str):
            if pools < _POOLS:
                layers[str(number)] = nn.MaxPool2d(2, 2)
            pools, number = pools + 1, number + 1
            continue
        dilation = 2 if pools > _POOLS else 1
        layers[str(number)] = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
        layers[str(number + 1)] = nn.ReLU(inplace=True)
        channels, number = width, number + 2
    return layers
