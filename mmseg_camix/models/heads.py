"""Decode heads of the papers: DeepLabV2 and DAFormer."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Sum of dilated 3x3 classifiers on one feature map; no normalisation, no dropout.

    Deviations:
        Paper: rates 6, 12, 18, 24. Released code (the whole DACS family): written with four rates, but a `return`
        within the loop leaves the first two, and every number of the family was obtained with them. Ours:
        ``dilations=(6, 12)``; any others can be given.

    Args:
        dilations: rate of each classifier.
        init_std: standard deviation of the classifiers' weights at the start, unless `init_cfg` is given.
        others: as in mmseg's `BaseDecodeHead`.
    """

    def __init__(self, in_channels: int = 2048, num_classes: int = 19, dilations: Sequence[int] = (6, 12),
                 in_index: int = -1, align_corners: bool = True, ignore_index: int = 255,
                 loss_decode: dict[str, Any] | Sequence[dict[str, Any]] = CROSS_ENTROPY,
                 sampler: dict[str, Any] | None = None,
                 init_std: float = 0.01, init_cfg: dict[str, Any] | None = None) -> None:
        if not dilations:
            raise ValueError('DeepLabV2Head needs at least one rate, e.g. dilations=(6, 12)')
        super().__init__(
            in_channels, channels=in_channels, num_classes=num_classes, dropout_ratio=0, in_index=in_index,
            align_corners=align_corners, ignore_index=ignore_index, loss_decode=loss_decode, sampler=sampler,
            init_cfg=init_cfg)
        del self.conv_seg  # the classifiers take its place
        self.init_std = init_std
        self.classifiers = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate) for rate in dilations)

    def init_weights(self) -> None:
        """Normal weights, biases 0, unless `init_cfg` is given."""
        if self.init_cfg is not None:
            super().init_weights()
            return
        for name, parameter in self.classifiers.named_parameters():
            if name.endswith('weight'):
                nn.init.normal_(parameter, std=self.init_std)
            else:
                nn.init.zeros_(parameter)
        self._is_init = True

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps to logits (B, C, h, w)."""
        features = self._transform_inputs(inputs)
        logits: Tensor = reduce(add, (classifier(features) for classifier in self.classifiers))
        return logits


FUSIONS = ('context', 'aspp', 'plain')
RATES = (1, 6, 12, 18)
BATCH_NORM = dict(type='BN', requires_grad=True)


class Embedding(nn.Module):
    """A linear map of the channels at every place."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, H, W) to (B, channels, H, W)."""
        embedded = self.proj(features.flatten(2).transpose(1, 2))
        return embedded.transpose(1, 2).unflatten(2, features.shape[2:])


class ContextFusion(nn.Module):
    """Parallel dilated convolutions and a 3x3 bottleneck; no image pooling.

    Args:
        channels: of each branch and of the result.
        dilations: rate of each branch; rate 1 is a plain 1x1 convolution.
        separable: whether dilated branches are depthwise-separable.
    """

    def __init__(self, in_channels: int, channels: int, dilations: Sequence[int], separable: bool,
                 norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        dilated = DepthwiseSeparableConvModule if separable else ConvModule
        self.aspp_modules = nn.ModuleList(
            ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg) if rate == 1 else
            dilated(in_channels, channels, 3, padding=rate, dilation=rate, norm_cfg=norm_cfg)
            for rate in dilations)
        self.bottleneck = ConvModule(len(dilations) * channels, channels, 3, padding=1, norm_cfg=norm_cfg)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, H, W) to (B, channels, H, W)."""
        return self.bottleneck(torch.cat([branch(features) for branch in self.aspp_modules], 1))


@MODELS.register_module()
class DAFormerHead(BaseDecodeHead):
    """Context-aware feature fusion (Hoyer et al., DAFormer, CVPR 2022).

    Each level is embedded, brought to the size of the first (stride 4 behind a MiT), and all are fused at once. Names
    and shapes of the weights are those of the released code.

    Args:
        in_channels: channels of each level.
        embed_dims: channels of each embedded level.
        channels: channels after the fusion.
        fusion: 'context', depthwise-separable dilated branches and a 3x3 bottleneck (DAFormer); 'aspp', the same with
            full convolutions; 'plain', one 1x1 convolution.
        dilations: rates of the branches; 'plain' has none.
        in_index: which of the backbone's outputs are read; None for all that `in_channels` names.
        others: as in mmseg's `BaseDecodeHead`.
    """

    def __init__(self, in_channels: Sequence[int] = (64, 128, 320, 512), num_classes: int = 19,
                 embed_dims: int = 256, channels: int = 256, fusion: str = 'context',
                 dilations: Sequence[int] = RATES, in_index: Sequence[int] | None = None,
                 dropout_ratio: float = 0.1, norm_cfg: dict[str, Any] = BATCH_NORM, align_corners: bool = False,
                 ignore_index: int = 255,
                 loss_decode: dict[str, Any] | Sequence[dict[str, Any]] = CROSS_ENTROPY,
                 sampler: dict[str, Any] | None = None) -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"DAFormerHead: fusion='{fusion}' must be one of {', '.join(FUSIONS)}")
        super().__init__(
            list(in_channels), channels, num_classes=num_classes, dropout_ratio=dropout_ratio, norm_cfg=norm_cfg,
            in_index=list(range(len(in_channels)) if in_index is None else in_index),
            input_transform='multiple_select', align_corners=align_corners, ignore_index=ignore_index,
            loss_decode=loss_decode, sampler=sampler)
        self.embed_layers = nn.ModuleList(Embedding(width, embed_dims) for width in in_channels)
        total = embed_dims * len(in_channels)
        self.fuse_layer = (
            ConvModule(total, channels, 1, norm_cfg=norm_cfg) if fusion == 'plain' else
            ContextFusion(total, channels, dilations, fusion == 'context', norm_cfg))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps, the finest first, to logits (B, C, h, w) at its resolution."""
        levels = self._transform_inputs(inputs)
        size = levels[0].shape[2:]
        embedded = [embed(level) for embed, level in zip(self.embed_layers, levels)]
        same = [x if x.shape[2:] == size else
                resize(x, size, mode='bilinear', align_corners=self.align_corners) for x in embedded]
        return self.cls_seg(self.fuse_layer(torch.cat(same, 1)))
