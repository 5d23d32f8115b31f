"""Where the crops of a batch lie in their images, for what depends on the place."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Box = tuple[float, float, float, float]


def crop_places(samples: Sequence[Any], size: tuple[int, int], device: torch.device,
                reader: str) -> tuple[Tensor, Tensor]:
    """The boxes (B, 4) float and flips (B,) bool of the samples' crops, as :func:`crop_place` defines them.

    Args:
        samples: data samples of one branch.
        size: (height, width) of the crops with their padding.
        device: of the result.
        reader: what needs the places, for error messages.
    """
    places = [crop_place(sample.metainfo, size, reader) for sample in samples]
    boxes, flips = torch.tensor([box for box, _ in places]), torch.tensor([flip for _, flip in places])
    if device.type == 'cuda':  # a copy from pinned memory does not wait for the device
        boxes, flips = boxes.pin_memory(), flips.pin_memory()
    return boxes.to(device, non_blocking=True), flips.to(device, non_blocking=True)


def crop_place(meta: Mapping[str, Any], size: tuple[int, int], reader: str) -> tuple[Box, bool]:
    """The crop's left, top, right and bottom as shares of the resized image before a flip, and whether it was flipped.

    An image that is smaller than the crop was padded to ``size`` (height, width) at the right and at the bottom, after
    the flip: the box grows by as much, past the border of the image.
    """
    if 'crop_box' not in meta or 'resized_shape' not in meta:
        raise KeyError(f'{meta.get("img_path")}: {reader} needs the position of the crop; use RecordedRandomCrop and '
                       'PackUDAInputs in the target pipeline')
    flip = bool(meta.get('flip', False))
    if flip and meta.get('flip_direction') != 'horizontal':
        raise ValueError(f'{meta.get("img_path")}: {reader} cannot follow a {meta.get("flip_direction")} flip; '
                         "use dict(type='RandomFlip', prob=0.5), which flips horizontally")
    height, width = meta['resized_shape']
    left, top, right, bottom = meta['crop_box']
    image = meta.get('img_shape', size)
    bottom = top + (bottom - top) * size[0] / image[0]
    whole = (right - left) * size[1] / image[1]
    left, right = (right - whole, right) if flip else (left, left + whole)
    return (left / width, top / height, right / width, bottom / height), flip
