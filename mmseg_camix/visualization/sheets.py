"""Contact sheets: tiles with titles in columns, and a legend of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

TITLE_HEIGHT, LINE_HEIGHT, GAP = 26, 22, 4
INK, PAPER = (40, 40, 40), 255


def bgr(image: Tensor, mean: Sequence[float], std: Sequence[float], order: str) -> np.ndarray:
    """A normalised image (3, H, W) as the network sees it -> (H, W, 3) uint8 BGR."""
    scale, shift = (torch.tensor(value).view(3, 1, 1) for value in (std, mean))
    pixels = (image.cpu().float() * scale + shift).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels[..., ::-1] if order == 'rgb' else pixels)


def tile(picture: np.ndarray, width: int, smooth: bool = True) -> np.ndarray:
    """Scaled to a width, with a white frame; labels and masks are not smoothed."""
    inner = width - 2 * GAP
    height = round(inner * picture.shape[0] / picture.shape[1])
    scaled = cv2.resize(picture, (inner, height), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)
    return cv2.copyMakeBorder(scaled, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(PAPER,) * 3)


def header(lines: Sequence[str], width: int) -> np.ndarray:
    """Titles above a column: the first in larger letters."""
    height = TITLE_HEIGHT + LINE_HEIGHT * (len(lines) - 1)
    field = np.full((height, width, 3), PAPER, np.uint8)
    for index, line in enumerate(lines):
        y, size = TITLE_HEIGHT - 8 + LINE_HEIGHT * index, 0.55 if index == 0 else 0.42
        cv2.putText(field, line, (GAP + 2, y), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
    return field


def outlined(picture: np.ndarray, region: np.ndarray, width: int) -> np.ndarray:
    """A tile with the outline of a region (H, W) bool drawn over the scaled picture."""
    framed = tile(picture, width)
    mask = tile(np.repeat(region.astype(np.uint8)[..., None] * 255, 3, 2), width, smooth=False)[..., 0]
    mask[:GAP], mask[-GAP:], mask[:, :GAP], mask[:, -GAP:] = 0, 0, 0, 0
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(framed, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)


def legend(class_ids: Iterable[int], names: Sequence[str], palette: Sequence, width: int) -> np.ndarray:
    """Colours and names of classes, in as many lines as they need."""
    column = 128
    ids = list(class_ids)
    per_line = max(1, width // column)
    lines = -(-len(ids) // per_line)
    field = np.full((lines * LINE_HEIGHT + 2 * GAP, width, 3), PAPER, np.uint8)
    for index, class_id in enumerate(ids):
        x, y = GAP + (index % per_line) * column, GAP + (index // per_line) * LINE_HEIGHT
        colour = tuple(int(value) for value in reversed(palette[class_id]))
        cv2.rectangle(field, (x, y + 3), (x + 14, y + 17), colour, -1)
        cv2.putText(field, names[class_id], (x + 20, y + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return field


def colourised(label: np.ndarray, palette: list) -> np.ndarray:
    """(H, W) train ids -> (H, W, 3) BGR; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:len(palette)] = np.array(palette, np.uint8)
    return colours[label.astype(np.uint8)][..., ::-1]


def column(title: str, tiles: list[np.ndarray], width: int) -> np.ndarray:
    """Pictures (H, W, 3) uint8 BGR below each other, with a title above them.

    Args:
        title: what stands above.
        tiles: the pictures, of one size.
        width: of each in pixels.
    """
    header = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    cv2.putText(header, title, (6, TITLE_HEIGHT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
    height = round(width * tiles[0].shape[0] / tiles[0].shape[1])
    scaled = [cv2.resize(tile, (width, height), interpolation=cv2.INTER_NEAREST) for tile in tiles]
    framed = [cv2.copyMakeBorder(tile[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3)
              for tile in scaled]
    return np.vstack([header, *framed])
