"""Boxes in images: drawn at random on a grid, or windows that slide over the image."""

from typing import NamedTuple

import torch
from torch import Tensor

Size = tuple[int, int]
"""(height, width)."""


class Box(NamedTuple):
    """A region of an image, in pixels; the last row and column are excluded."""

    top: int
    left: int
    bottom: int
    right: int

    def crop(self, value: Tensor) -> Tensor:
        """(..., H, W) to its part inside the box."""
        return value[..., self.top:self.bottom, self.left:self.right]

    def in_cells(self, stride: int) -> 'Box':
        """The box on a map with `stride` pixels per cell, of which its corners must be multiples."""
        return Box(*(corner // stride for corner in self))


def draw_box(size: Size, box_size: Size, multiple: int, generator: torch.Generator | None = None) -> Box:
    """Draw the place of a box uniformly among the corners that are multiples of `multiple` pixels.

    Args:
        size: of the image, at least `box_size`.
        generator: on the host, because slices need plain numbers; None takes torch's default.
    """
    top, left = (multiple * torch.randint((whole - part) // multiple + 1, (1,), generator=generator).tolist()[0]
                 for whole, part in zip(size, box_size))
    return Box(top, left, top + box_size[0], left + box_size[1])


def sliding_boxes(size: Size, box_size: Size, step: Size) -> tuple[Box, ...]:
    """Windows that cover an image, row by row; the last ones of a row or column are moved back into the image.

    A window is never larger than the image.
    """
    rows, columns = (_spans(*sides) for sides in zip(size, box_size, step))
    return tuple(Box(top, left, bottom, right) for top, bottom in rows for left, right in columns)


def _spans(whole: int, part: int, step: int) -> list[tuple[int, int]]:
    part = min(whole, part)
    count = -(-(whole - part) // step) + 1
    ends = [min(index * step + part, whole) for index in range(count)]
    return [(end - part, end) for end in ends]
