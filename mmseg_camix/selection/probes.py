"""Passes of a network over an image and over changed copies of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmseg_camix.models import adapter
from mmseg_camix.models.uda.preprocessor import BranchPreprocessor
from mmseg_camix.ops.augment import StrongAugment

# Pixels of an image that are compared: those of a grid with at most about so many.
GRID = 2**14
ZOOM = 1.25
MIXED_SHARE = 0.55
"""Weight of the dominant image of a mixed one, as in MixVal."""


def grid(values: Tensor) -> Tensor:
    """Pixels of a regular grid, (B, C, H, W) or (B, H, W) -> (N, C) or (N,), images one after another."""
    height, width = values.shape[-2:]
    step = max(1, round((height * width / GRID) ** 0.5))
    picked = values[..., ::step, ::step]
    return picked.permute(0, 2, 3, 1).flatten(0, 2) if picked.dim() == 4 else picked.flatten()


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """(B, C, H, W) at the size of the normalised images, as the segmentor predicts: in whole or in windows."""
    size = tuple(images.shape[2:])
    return network.inference(images, [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(images))


@dataclass(frozen=True)
class View:
    """A changed image, and how predictions for it and for the original are brought to the same pixels."""

    change: Callable[[Tensor, StrongAugment, torch.Generator], Tensor]
    undo: Callable[[Tensor], Tensor] = lambda logits: logits
    align: Callable[[Tensor], Tensor] = lambda logits: logits


def _centre(values: Tensor) -> Tensor:
    """The part (B, C, h, w) of the image that a zoom shows."""
    height, width = (round(side / ZOOM) for side in values.shape[2:])
    top, left = (values.shape[2] - height) // 2, (values.shape[3] - width) // 2
    return values[:, :, top:top + height, left:left + width]


def _enlarge(images: Tensor, *_: object) -> Tensor:
    return interpolate(_centre(images), images.shape[2:], mode='bilinear', align_corners=False)


def _shrink(logits: Tensor) -> Tensor:
    return interpolate(logits, _centre(logits).shape[2:], mode='bilinear', align_corners=False)


VIEWS: dict[str, View] = dict(
    flip=View(lambda images, *_: images.flip(3), lambda logits: logits.flip(3)),
    colour=View(lambda images, augment, generator: augment(images, generator)),
    zoom=View(_enlarge, _shrink, _centre))
"""A zoom keeps the size of the input, so that every network accepts it."""


def colour_augmentation(network: nn.Module) -> StrongAugment:
    """Colour jitter and blur of every image, as strong as in the DACS family."""
    preprocessor = BranchPreprocessor(network.data_preprocessor)
    augment = StrongAugment(preprocessor.mean, preprocessor.std, preprocessor.channel_order, jitter_probability=1.0,
                            per='image')
    return augment.to(next(network.parameters()).device)


def classifiers(network: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of the main head that give the logits; none for heads that classify in another way."""
    head = adapter.main_head(network)
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)
              and layer.out_channels == head.num_classes]
    return [head.conv_seg] if getattr(head, 'conv_seg', None) in layers else layers


@contextmanager
def recorded_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """A list that receives the classifier's input (B, K, h, w) of each pass within the block."""
    features: list[Tensor] = []
    layers = classifiers(network)[:1]
    handles = [layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0])) for layer in layers]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()
