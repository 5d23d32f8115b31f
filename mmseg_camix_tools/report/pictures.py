"""Pictures of the report, as data URIs: overlays with the names of classes, heat maps, sheets of training steps."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from mmseg_camix.datasets.image_files import decode, read_bytes
from mmseg_camix.visualization.sheets import font, resize, text_width

from ..doctor.pictures import overlay

QUALITY = 78
THUMB = 320  # pixels
NAME = 22
SHEET = 1400


def data_uri(content: bytes, kind: str) -> str:
    """The content of a file as the address of a picture inside the page."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def webp(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as the address of a WebP image."""
    return data_uri(cv2.imencode('.webp', picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes(), 'webp')


def thumb(picture: np.ndarray) -> str:
    """A small copy of a picture."""
    return webp(resize(picture, THUMB))


def sheet(file: Path) -> str | None:
    """The picture of a training step; None if the file is damaged."""
    try:
        picture = decode(read_bytes(str(file)))
    except OSError:
        return None
    if picture is None:
        return None
    return webp((resize(picture, SHEET) if picture.shape[1] > SHEET else picture)[..., ::-1])


def heat(entropy: np.ndarray) -> str:
    """A map of uncertainty (h, w) in [0, 1]: from black, certain, to yellow, undecided."""
    return webp((255 * matplotlib.colormaps['cividis'](entropy.clip(0, 1))[..., :3]).round().astype(np.uint8))


def segmentation(picture: np.ndarray, label: np.ndarray, classes: Sequence[str], palette: Sequence,
                 names: bool = True) -> np.ndarray:
    """A picture (H, W, 3) with the classes (H, W) laid over it, and the name of each in its largest region."""
    colours = np.full((256, 3), 88, np.uint8)
    colours[:len(palette)] = palette
    page = Image.fromarray(overlay(picture, label, colours))
    pen = ImageDraw.Draw(page)
    for index, x, y in places(label, classes) if names else ():
        pen.text((x, y), classes[index], 'white', font(NAME, bold=True), anchor='mm', stroke_width=2,
                 stroke_fill=(20, 20, 20))
    return np.asarray(page)


def places(label: np.ndarray, classes: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """(class, x, y) of each class whose name fits into its largest region: the point farthest from its border."""
    for index in np.unique(label).tolist():
        if index >= len(classes):
            continue
        count, parts, stats, _ = cv2.connectedComponentsWithStats((label == index).astype(np.uint8), connectivity=4)
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        if stats[largest, cv2.CC_STAT_WIDTH] < text_width(classes[index], NAME, bold=True) + 4:
            continue
        inside = np.pad((parts == largest).astype(np.uint8), 1)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(distance.argmax()), distance.shape)
        if distance[y, x] >= 8:
            half = text_width(classes[index], NAME, bold=True) // 2 + 8
            yield index, int(np.clip(x, half, label.shape[1] - half)), int(y)
