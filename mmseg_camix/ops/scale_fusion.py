"""Fusion of a coarse prediction of a whole image with fine predictions of its parts (HRDA)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .boxes import Box, Size
from .losses import upsample

FACTOR = 2
"""Resolution of the details over that of the context."""


def fuse_scales(context: Tensor, detail: Tensor, attention: Tensor, box: Box, align_corners: bool = False) -> Tensor:
    """Logits (B, C, 2 h, 2 w) of both scales: a' * detail + up((1 - a) * context), with a = 0 outside the box.

    The context's logits are weighted before they are upsampled, the detail's after the attention is: a' = up(a).

    Args:
        context: logits (B, C, h, w) of the reduced image.
        detail: logits (B, C, H', W') of a box at full resolution.
        attention: (B, C, h, w) or (B, 1, h, w) in [0, 1], the share of the detail.
        box: of the detail, in cells of the result; its corners are multiples of 2.
    """
    size = (FACTOR * context.shape[2], FACTOR * context.shape[3])
    if box != (0, 0, *size):
        inside = torch.zeros_like(attention[:1, :1])
        box.in_cells(FACTOR).crop(inside).fill_(1)
        attention = attention * inside
    fused = upsample((1 - attention) * context, size, align_corners)
    share = upsample(attention, size, align_corners)
    box.crop(fused).add_(box.crop(share) * detail)
    return fused


def average_windows(logits: Tensor, boxes: Sequence[Box], size: Size) -> Tensor:
    """Mean (B, C, H, W) of the logits of windows that cover a map of `size`.

    Args:
        logits: (windows * B, C, h, w), window by window.
        boxes: of the windows, in cells.
    """
    windows = logits.unflatten(0, (len(boxes), -1))
    if len(boxes) == 1:
        return windows[0]
    total = logits.new_zeros((*windows.shape[1:3], *size), dtype=torch.promote_types(logits.dtype, torch.float32))
    count = total.new_zeros(size)
    for box, window in zip(boxes, windows):
        box.crop(total).add_(window)
        box.crop(count).add_(1)
    return total / count
