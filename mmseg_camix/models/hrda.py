"""HRDA: a segmentor that processes the whole image at half resolution, and a part of it at full resolution."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from mmseg_camix.ops.boxes import Box, Size, draw_box, sliding_boxes
from mmseg_camix.ops.losses import upsample
from mmseg_camix.ops.scale_fusion import FACTOR, average_windows, fuse_scales

from . import adapter
from .adapter import Features, Losses, Output, UnsupportedSegmentorError
from .building import construct
from .uda.tables import merge_arguments

_HEADS = 'Use DAFormerHead, SegformerHead, DeepLabV2Head or another head of mmseg that returns one map'
# What segmentors, losses and test-time augmentation read of a decode head.
_OF_HEAD = ('num_classes', 'out_channels', 'ignore_index', 'align_corners', 'threshold', 'in_index')


@dataclass(frozen=True)
class ScaleFeatures:
    """What the encoder makes of a batch of images at two scales."""

    context: Features
    """Of the whole images, reduced by `FACTOR`; objectives on features compare these."""
    detail: Features
    """Of boxes at full resolution, (boxes * B, K, h, w), box by box."""
    boxes: tuple[Box, ...]
    """In pixels, the same for all images: one that was drawn, or windows that cover the image."""
    size: Size
    """(height, width) of the images."""


class ScaleFusionHead(BaseModule):
    """One head for both scales, and the attention that fuses its predictions.

    Args:
        head: gives logits (B, C, h, w) of the features of one scale.
        attention: another such head, or a fixed share of the detail in [0, 1].
    """

    per_pixel_logits = True

    def __init__(self, head: Any, attention: Any) -> None:
        super().__init__()
        self.head = head
        fixed = isinstance(attention, (int, float))
        self.fixed_attention = float(attention) if fixed else 0.0
        self.scale_attention = None if fixed else attention
        for name in _OF_HEAD:
            setattr(self, name, getattr(head, name, None))

    @property
    def single_heads(self) -> list[Any]:
        """The heads inside, each of which maps features of one scale to logits."""
        return [self.head, *([] if self.scale_attention is None else [self.scale_attention])]

    def forward(self, features: ScaleFeatures) -> tuple[Tensor, Tensor]:
        """The fused logits (B, C, H / stride, W / stride), and the detail's: of one box, or of the whole image."""
        context = self.head(features.context)
        detail = self.head(features.detail)
        attention = self._attention(features.context, context)
        size = (FACTOR * context.shape[2], FACTOR * context.shape[3])
        boxes = [box.in_cells(features.size[0] // size[0]) for box in features.boxes]
        detail = average_windows(detail, boxes, size)
        box = boxes[0] if len(boxes) == 1 else Box(0, 0, *size)
        return fuse_scales(context, detail, attention, box, self.align_corners), detail

    def _attention(self, features: Features, context: Tensor) -> Tensor:
        if self.scale_attention is None:
            return torch.full_like(context[:, :1], self.fixed_attention)
        attention: Tensor = self.scale_attention(features).sigmoid()
        return attention

    def loss_by_feat(self, *arguments: Any) -> Losses:
        """The single-scale head's losses of logits and data samples."""
        losses: Losses = self.head.loss_by_feat(*arguments)
        return losses


@MODELS.register_module()
class HRDAEncoderDecoder(EncoderDecoder):
    """mmseg's EncoderDecoder at two scales: context and detail (Hoyer et al., HRDA, ECCV 2022).

    The context is the whole image, reduced by 2; the detail is a crop at full resolution. One encoder and one head
    predict both, and a second head predicts from the context's features which share each class takes of the detail:
    see :func:`~mmseg_camix.ops.scale_fusion.fuse_scales`. A loss is (1 - `detail_weight`) times that of the fused
    logits plus `detail_weight` times that of the detail's on the labels of its box.

    In training the detail is one crop at random, at the same place of all images of a pass. The teacher and tests cover
    the image with windows that overlap by half, as one batch, and average their logits. Test images whose sides are not
    multiples of twice the stride are padded.

    Deviations:
        Released code: the last row and column of places is never drawn. With DeepLabV2 (stride 8) corners are multiples
        of 8 there, so that half of the places do not align with the context's cells; ours: of 16.

    Args:
        decode_head: of a single scale: gives one map of logits, whose cells align with the image.
        detail_size: (height, width) of the detail, or one number for both; None takes half of the training crop
            (``data_preprocessor.size``), as in the paper.
        scale_attention: arguments in which the head of the attention differs from `decode_head` (the papers' for
            DAFormerHead: ``dict(fusion='plain')``), or a number in [0, 1], a fixed share of the detail.
        detail_weight: share of the detail's loss, in [0, 1].
        others: as in mmseg's EncoderDecoder.
    """

    draws_crops = True
    preferred_backward = 'each'  # a view takes the memory of two
    decode_head: Any

    def __init__(self, backbone: dict[str, Any], decode_head: dict[str, Any],
                 detail_size: int | Sequence[int] | None = None,
                 scale_attention: Mapping[str, Any] | float | None = None, detail_weight: float = 0.1,
                 **others: Any) -> None:
        if not isinstance(decode_head, Mapping):
            raise UnsupportedSegmentorError(f'HRDA needs one decode head, not the {len(decode_head)} of a cascade. '
                                            f'{_HEADS}')
        if not 0 <= detail_weight <= 1:
            raise ValueError(f'detail_weight={detail_weight} must lie in [0, 1]')
        attention = _build_attention(decode_head, scale_attention)
        super().__init__(backbone=backbone, decode_head=decode_head, **others)
        self.decode_head = ScaleFusionHead(self.decode_head, attention)
        crop = getattr(self.data_preprocessor, 'size', None)
        self.detail_size: Size = _pair(detail_size, crop)
        self.detail_weight = detail_weight
        if crop is not None:
            self._check_fits(crop)
        with _disable_current_modes():  # such as a limit of memory for layers
            self.stride = self._logit_stride()
        if crop is not None:
            self.check_size(crop)
        self._check_detail()

    # -------------------------------------------------------------- passes

    def context(self, image: Tensor) -> Tensor:
        """The image (B, 3, H, W) at the resolution of the context."""
        size = (image.shape[2] // FACTOR, image.shape[3] // FACTOR)
        with torch.no_grad():
            return F.interpolate(image, size, mode='bilinear', align_corners=self.align_corners)

    def extract_feat(self, inputs: Tensor, generator: torch.Generator | None = None) -> ScaleFeatures:
        """Features of the images (B, 3, H, W) at both scales.

        Args:
            generator: draws the place of one detail, on the host; None covers the image with windows.
        """
        size = (inputs.shape[2], inputs.shape[3])
        self.check_size(size)
        if generator is None:
            boxes = sliding_boxes(size, self.detail_size, (self.detail_size[0] // 2, self.detail_size[1] // 2))
        else:
            self._check_fits(size)
            boxes = (draw_box(size, self.detail_size, self.stride * FACTOR, generator),)
        context = super().extract_feat(self.context(inputs))
        return ScaleFeatures(context, super().extract_feat(torch.cat([box.crop(inputs) for box in boxes])), boxes, size)

    def outputs(self, features: ScaleFeatures) -> tuple[Output, ...]:
        """The fused prediction, and that of a single detail."""
        fused, detail = self.decode_head(features)
        if len(features.boxes) > 1:
            return (Output(fused),)
        return (Output(fused, 1 - self.detail_weight), Output(detail, self.detail_weight, features.boxes[0]))

    def loss(self, inputs: Tensor, data_samples: list[Any], generator: torch.Generator | None = None) -> Losses:
        """Losses of both outputs on labelled images, as mmseg's.

        Args:
            generator: draws the place of the detail; None takes torch's default.
        """
        features = self.extract_feat(inputs, generator or torch.default_generator)
        return adapter.supervised_losses(self, features, data_samples)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Logits (B, C, H, W) of the images' size."""
        height, width = inputs.shape[2:]
        multiple = self.stride * FACTOR
        padded = F.pad(inputs, (0, -width % multiple, 0, -height % multiple))
        return upsample(self._forward(padded), padded.shape[2:], self.align_corners)[..., :height, :width]

    def _forward(self, inputs: Tensor, data_samples: list[Any] | None = None) -> Tensor:
        """The fused logits (B, C, H / stride, W / stride)."""
        return adapter.decode(self, self.extract_feat(inputs))

    # -------------------------------------------------------------- checks

    def check_size(self, size: Sequence[int]) -> None:
        """Raise if the cells of the context would not align with an image of this (height, width)."""
        multiple = self.stride * FACTOR
        if any(side % multiple for side in size):
            nearest = ' x '.join(str(max(1, round(side / multiple)) * multiple) for side in size)
            raise ValueError(f'HRDA: an image of {size[0]} x {size[1]} does not align with logits at stride '
                             f'{self.stride} of the image at half resolution; its sides must be multiples of '
                             f'{multiple}, e.g. {nearest}')

    def _check_fits(self, size: Sequence[int]) -> None:
        if any(part > whole for part, whole in zip(self.detail_size, size)):
            raise ValueError(f'HRDA: detail_size={self.detail_size} is larger than the training crop, '
                             f'{size[0]} x {size[1]}; give at most {tuple(size)}. The papers take half of it, '
                             f'{tuple(side // FACTOR for side in size)}')

    def _check_detail(self) -> None:
        multiple = self.stride * FACTOR
        if any(side < 1 or side % multiple for side in self.detail_size):
            nearest = tuple(max(1, round(side / multiple)) * multiple for side in self.detail_size)
            raise ValueError(f'HRDA: detail_size={self.detail_size} must be multiples of {multiple}, twice the stride '
                             f'of the logits, e.g. {nearest}')

    def _logit_stride(self) -> int:
        """Pixels per cell of the head's logits at a single scale; raises if they do not tile the image."""
        head, *others = self.decode_head.single_heads
        name = type(head).__name__
        if adapter.trains_on_several_maps(head):
            raise UnsupportedSegmentorError(f'HRDA needs a head that gives one map at one stride; {name} gives several '
                                            f'in training. {_HEADS}')

        def run(image: Tensor) -> list[Any]:
            features = super(HRDAEncoderDecoder, self).extract_feat(image)
            return [single(features) for single in (head, *others)]

        maps, size = self._run_blank(run)
        shapes = [tuple(logits.shape[2:]) if isinstance(logits, Tensor) else type(logits).__name__ for logits in maps]
        stride = size[0] // maps[0].shape[2] if isinstance(maps[0], Tensor) else 1
        for part, shape in zip(('', ' of the attention'), shapes):
            if shape != (size[0] / stride, size[1] / stride):
                raise UnsupportedSegmentorError(
                    f'HRDA needs a head that gives one map at one stride; {name}{part} on '
                    f'{type(self.backbone).__name__} gives {shape} for an image of {size}. {_HEADS}, on an encoder '
                    'that does not round up (DeepLabResNet: ceil_mode=False)')
        return stride

    def _run_blank(self, run: Callable[[Tensor], list[Any]]) -> tuple[list[Any], Size]:
        """`run` of a blank image of any size that suits the network, and the size."""
        try:
            return adapter.run_blank(self, None, run)
        except Exception:
            try:
                return adapter.run_blank(self, self.detail_size, run)
            except Exception as error:
                raise ValueError(f'HRDA: the network cannot process a blank image of detail_size={self.detail_size} '
                                 f'({error}); is it too small, or a number of channels wrong?') from error


def _build_attention(head: Mapping[str, Any], attention: Mapping[str, Any] | float | None) -> Any:
    if isinstance(attention, (int, float)):
        if not 0 <= attention <= 1:
            raise ValueError(f'scale_attention={attention} must lie in [0, 1], or be a dict of arguments of a head')
        return attention
    cfg = merge_arguments(head, attention or {})
    built = construct('scale_attention', MODELS.build, {}, cfg)
    classes = head.get('num_classes', built.num_classes)
    if built.num_classes not in (1, classes):
        raise ValueError(f'scale_attention has num_classes={built.num_classes}; it must be {classes}, a map for each '
                         'class, or 1')
    return built


def _pair(size: int | Sequence[int] | None, crop: Sequence[int] | None) -> Size:
    if size is None:
        if crop is None:
            raise ValueError('HRDA: without data_preprocessor.size, whose half is the default, it needs detail_size')
        size = [side // FACTOR for side in crop]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
