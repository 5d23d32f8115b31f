"""A contact sheet: some images of every set, their labels below."""

from pathlib import Path

import cv2
import numpy as np

from . import labels as L
from .render import render
from .styles import DOMAINS

_MARGIN = 8  # pixels between pictures


def contact_sheet(sets: tuple[str, ...], indices: tuple[int, ...] = (0, 1, 2), seed: int = 0,
                  height: int = 256) -> np.ndarray:
    """Training pictures over their coloured labels: (H, W, 3) uint8 RGB on white.

    Every picture is drawn, not scaled, to the width that Cityscapes has at `height` rows.
    """
    colours, width = L.palette(), 2 * height
    rows = []
    for name in sets:
        size = width, round(width / DOMAINS[name].layout.aspect)
        pairs = [render(name, 'train', index, seed, size) for index in indices]
        rows.append(_row([image for image, _ in pairs]))
        rows.append(_row([colours[label] for _, label in pairs]))
    return cv2.copyMakeBorder(np.vstack(rows), _MARGIN, 0, _MARGIN, 0, cv2.BORDER_CONSTANT,
                              value=(255, 255, 255))


def _row(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size side by side, a white margin to the right and below each."""
    border = (0, _MARGIN, 0, _MARGIN, cv2.BORDER_CONSTANT)
    return np.hstack([cv2.copyMakeBorder(p, *border, value=(255, 255, 255)) for p in pictures])


def write_preview(path: str | Path, sets: tuple[str, ...], seed: int = 0, height: int = 256) -> None:
    """Write the contact sheet as an image file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(sets, seed=seed, height=height)
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise OSError(f'Could not write {path}.')
