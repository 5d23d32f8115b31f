"""Write tiny images and labels in the encodings of the real datasets."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (12, 20)  # height, width


def write_image(path: Path, value: int, size: tuple[int, int] = SIZE) -> None:
    """A picture with noise that differs from file to file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(value).randint(0, 256, (*size, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_palette_label(path: Path, ids: np.ndarray) -> None:
    """As GTA writes them: indices with a palette in which index i is not the grey value i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids.astype(np.uint8), mode='P')
    picture.putpalette(np.random.RandomState(0).randint(0, 256, 768).tolist())
    picture.save(path)


def write_grey_label(path: Path, ids: np.ndarray) -> None:
    """As Cityscapes writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint8), mode='L').save(path)


def write_16_bit_label(path: Path, ids: np.ndarray) -> None:
    """As SYNTHIA writes them: class, instance, nothing. OpenCV takes BGR, so the class comes last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    instances = np.arange(ids.size).reshape(ids.shape) + 300  # needs more than eight bits
    channels = np.stack([np.zeros_like(ids), instances, ids], -1).astype(np.uint16)
    assert cv2.imwrite(str(path), channels)


def random_ids(seed: int, high: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, high, size)
