"""Networks of timm that give feature maps at several strides."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from mmseg.registry import MODELS
from timm.models import group_parameters
from torch import Tensor

from .timm_base import TimmBackbone, in_order, renamings


@MODELS.register_module()
class TimmFeatures(TimmBackbone):
    """Any network of timm that supports `features_only`: ConvNeXt, Swin, EfficientNet, ResNet, ...

    Accepts images of any size where the network can (Swin is configured to). A window or position embedding of fixed
    size is set with ``arguments=dict(img_size=512)``. For networks that accept only multiples of a stride,
    ``multiple_of=32`` resizes images.

    Args:
        name: timm's name, e.g. 'convnext_tiny'.
        out_indices: ascending indices of the maps returned, counted from the finest, or -1, -2 from the coarsest. None
            for the last four.
        multiple_of: images are resized to the next multiple of it.
        pretrained: True downloads timm's weights when weights are initialised.
        frozen: the network is not trained.
        drop_path_rate: stochastic depth; 0 leaves the network's own default.
        arguments: further arguments of the network, as timm has them.
        init_cfg: weights; see :class:`PretrainedBackbone`.
    """

    features_only = True

    def __init__(self, name: str, out_indices: Sequence[int] | None = None, pretrained: bool = False,
                 frozen: bool = False, drop_path_rate: float = 0.0, arguments: dict[str, Any] | None = None,
                 init_cfg: dict[str, Any] | list[Any] | None = None, multiple_of: int = 1) -> None:
        options = dict(arguments or {}, out_indices=tuple(out_indices or (-4, -3, -2, -1)))
        if drop_path_rate:
            options['drop_path_rate'] = drop_path_rate
        super().__init__(name, pretrained, frozen, options, init_cfg)
        info = self.network.feature_info
        in_order(options['out_indices'], len(info.info), f'{name}: out_indices')
        self.multiple = (multiple_of, multiple_of)
        self.out_channels = tuple(info.channels())
        self.out_strides = tuple(info.reduction())
        # Swin and similar networks return channels last.
        self._channels_last = str(getattr(self.network, 'output_fmt', 'NCHW')).endswith('NHWC')

    def _create(self, pretrained: bool = False) -> Any:
        try:
            network = super()._create(pretrained)
        except (IndexError, AssertionError) as error:
            in_order(self.arguments['out_indices'], len(self._whole('meta').feature_info), f'{self.name}: out_indices')
            raise error
        if getattr(getattr(network, 'patch_embed', None), 'strict_img_size', False):
            self.arguments.setdefault('strict_img_size', False)
            network = super()._create(pretrained)
        return network

    def run(self, image: Tensor) -> list[Tensor]:
        try:
            features = self.network(image)
        except (AssertionError, RuntimeError) as error:
            self._refuse_size(image, error)
            raise
        return [x.permute(0, 3, 1, 2).contiguous() for x in features] if self._channels_last else list(features)

    def _refuse_size(self, image: Tensor, error: Exception) -> None:
        coarsest = max(level['reduction'] for level in self.network.feature_info.info)
        height, width = image.shape[2:]
        if (height % coarsest or width % coarsest) and not isinstance(error, torch.OutOfMemoryError):
            raise ValueError(f'{self.name} does not take images of {height}x{width} pixels ({error}); '
                             f'multiple_of={coarsest} resizes them to the next size that it may take') from error

    @cached_property
    def _depths(self) -> dict[str, int]:
        """Parameter -> its stage as timm groups them, 0 the stem."""
        whole = self._whole('meta')
        try:
            groups = group_parameters(whole, whole.group_matcher(coarse=True), reverse=True)
        except (AttributeError, AssertionError) as error:
            raise ValueError(f'layer_decay: timm does not say how deep the parts of {self.name} lie; '
                             'leave it out') from error
        own = {name for name, _ in self.network.named_parameters()}
        return {ours: depth for name, depth in groups.items() for ours in renamings(name) if ours in own}

    @property
    def num_layers_of_decay(self) -> int:
        """Number of stages, for layer-wise decay of the learning rate."""
        return max(self._depths.values())

    def layer_of(self, name: str) -> int:
        """Depth of a parameter by its name: 0 the stem, k the k-th stage."""
        return self._depths[name.removeprefix('network.')]
