"""Networks of timm that give feature maps at several strides."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from .timm_base import TimmBackbone

_STAGE = re.compile(r'(?:stages|stage|layers|layer|blocks)[._]?(\d+)')


@MODELS.register_module()
class TimmFeatures(TimmBackbone):
    """Any network of timm that knows `features_only`: ConvNeXt, Swin, EfficientNet, ResNet, ...

    Args:
        name: timm's name, e.g. 'convnext_tiny'.
        out_indices: which of its maps are given, counted from the finest, or -1, -2 from the
            coarsest; None for the last four.
        pretrained: True downloads timm's weights when weights are initialised.
        frozen: the network is not trained.
        drop_path_rate: stochastic depth; 0 leaves the network's own default.
        arguments: further arguments of the network, as timm has them.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    features_only = True

    def __init__(self, name: str, out_indices: Sequence[int] | None = None, pretrained: bool = False,
                 frozen: bool = False, drop_path_rate: float = 0.0, arguments: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        options = dict(arguments or {}, out_indices=tuple(out_indices or (-4, -3, -2, -1)))
        if drop_path_rate:
            options['drop_path_rate'] = drop_path_rate
        super().__init__(name, pretrained, frozen, options, init_cfg)
        info = self.network.feature_info
        self.out_channels = tuple(info.channels())
        self.out_strides = tuple(info.reduction())
        # Swin and its like give channels last.
        self._channels_last = str(getattr(self.network, 'output_fmt', 'NCHW')).endswith('NHWC')
        names = [f'network.{name}' for name, _ in self.network.named_parameters()]
        numbers = sorted({int(found[1]) for found in map(_STAGE.search, names) if found})
        self._depths = {number: depth for depth, number in enumerate(numbers, 1)}

    def run(self, image: Tensor) -> list[Tensor]:
        features = self.network(image)
        return [x.permute(0, 3, 1, 2).contiguous() for x in features] if self._channels_last else list(features)

    @property
    def num_layers_of_decay(self) -> int:
        """Number of stages, for layer-wise decay of the learning rate."""
        return len(self._depths)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the stem, k the k-th stage."""
        found = _STAGE.search(name)
        return self._depths[int(found[1])] if found else 0
