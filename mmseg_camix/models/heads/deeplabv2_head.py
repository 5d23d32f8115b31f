"""The head of DeepLabV2: classifiers of several dilations, summed."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
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
        in_channels: channels of the feature map.
        num_classes: number of classes.
        dilations: rate of each classifier.
        in_index: which of the backbone's outputs is read.
        align_corners: how logits are brought to the label's size.
        ignore_index: label of pixels that do not count.
        loss_decode: config of the loss, or several.
        sampler: config of mmseg's pixel sampler.
        init_std: standard deviation of the classifiers' weights at the start.
        init_cfg: weights of the head.
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
        """Normal weights, biases 0, unless `init_cfg` says something else."""
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
        first, *others = self.classifiers
        logits = first(features)
        for classifier in others:
            logits = logits + classifier(features)
        return logits
