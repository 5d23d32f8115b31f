"""The VGG-16 of DeepLabV2."""

from collections import OrderedDict
from typing import Any

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

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
