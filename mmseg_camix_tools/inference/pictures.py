"""Label maps as files: colours, overlays, ids."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from mmseg_camix.datasets.encodings import get_encoding

KINDS = ('overlay', 'colour', 'labels')
IDS = ('train', 'raw')

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(image (H, W, 3) BGR, label (H, W)) -> what is written."""


def drawing(kind: str, classes: Sequence[str], palette: Sequence[Sequence[int]], opacity: float = 0.5,
            ids: str = 'train') -> Draw:
    """The function that draws the output for an image and its label map.

    Args:
        kind: 'overlay' (colours over the image), 'colour' (colours alone) or 'labels' (ids).
        classes: names, for raw ids.
        palette: [r, g, b] of each class.
        opacity: of an overlay's colours, 0 to 1.
        ids: of labels: 'train' (the network's own numbers) or 'raw' (of Cityscapes).
    """
    if kind == 'labels':
        table = None if ids == 'train' else raw_ids(classes)
        return lambda image, label: label if table is None else table[label]
    colours = np.array(palette, np.uint8)[:, ::-1]
    if kind == 'colour':
        return lambda image, label: colours[label]
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity={opacity} must lie in [0, 1]')
    return lambda image, label: cv2.addWeighted(image.astype(np.uint8), 1 - opacity, colours[label], opacity, 0)


def raw_ids(classes: Sequence[str]) -> np.ndarray:
    """(C,) uint8: the id that Cityscapes' label files have for each class, by its name."""
    raw_ids_by_name = get_encoding('cityscapes').raw_ids
    if unknown := [name for name in classes if name not in raw_ids_by_name]:
        raise ValueError(f'Cityscapes has no raw id for {", ".join(unknown)}; write the network\'s own numbers')
    return np.array([raw_ids_by_name[name] for name in classes], np.uint8)


def png(picture: np.ndarray) -> bytes:
    """(H, W) numbers (8 bits, or 16) or (H, W, 3) BGR as the content of a PNG file."""
    if picture.dtype == np.int16:
        picture = picture.astype(np.uint16)
    return cv2.imencode('.png', picture)[1].tobytes()
