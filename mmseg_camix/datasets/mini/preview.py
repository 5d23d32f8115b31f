"""A contact sheet: some images of every set, their labels below."""

from pathlib import Path

import cv2
import numpy as np

from . import labels as L
from .render import default_size, render

_MARGIN = 8  # pixels between pictures


def contact_sheet(sets: tuple[str, ...], indices: tuple[int, ...] = (0, 1, 2), seed: int = 0,
                  height: int = 256) -> np.ndarray:
    """Pictures of the training split over their coloured labels: (H, W, 3) uint8 RGB, white around."""
    colours, rows = L.palette(), []
    for name in sets:
        size = default_size(name, height)
        # All sets at the same height, so that the sheet has straight rows.
        size = round(size[0] * height / size[1]), height
        pairs = [render(name, 'train', index, seed, size) for index in indices]
        rows.append([image for image, _ in pairs])
        rows.append([colours[label] for _, label in pairs])
    width = max(sum(picture.shape[1] + _MARGIN for picture in row) for row in rows) + _MARGIN
    sheet = np.full((len(rows) * (height + _MARGIN) + _MARGIN, width, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        y, x = _MARGIN + i * (height + _MARGIN), _MARGIN
        gap = (width - _MARGIN - sum(p.shape[1] + _MARGIN for p in row)) / max(len(row) - 1, 1)
        for picture in row:
            sheet[y:y + height, round(x):round(x) + picture.shape[1]] = picture
            x += picture.shape[1] + _MARGIN + gap
    return sheet


def write_preview(path: str | Path, sets: tuple[str, ...], seed: int = 0, height: int = 256) -> None:
    """Write the contact sheet as an image file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(sets, seed=seed, height=height)
    if not cv2.imwrite(str(path), sheet[..., ::-1]):
        raise OSError(f'Could not write {path}.')
