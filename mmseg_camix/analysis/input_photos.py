"""Pictures of the true sizes of GTA and Cityscapes whose PNGs take as long to decode as photographs'."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..datasets.mini.render import render
from ..datasets.mini.writer import _save_palette

SIZES = dict(gta=(1914, 1052), cityscapes=(2048, 1024))
BLUR, NOISE = 1.0, 1.5  # pixels, grey values


def write_photos(root: Path, count: int) -> None:
    """Draw `count` images of each set below `root`, in the layout of the downloads, unless they are there.

    A scene of the miniature benchmark is drawn at full size, blurred a little as a lens does, and given
    a sensor's noise, without which flat surfaces would make the PNGs too easy.
    """
    jobs = [(name, index) for name in SIZES for index in range(count)]
    missing = [job for job in jobs if not _paths(root, *job)[-1].is_file()]
    for name, index in tqdm(missing, desc='drawing', unit='image', disable=not missing):
        picture, label = render(name, 'train', index, 0, SIZES[name])
        image_path, label_path = _paths(root, name, index)
        for path in (image_path, label_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(picture, index)).save(image_path)
        if name == 'gta':
            _save_palette(label_path, label)
        else:
            Image.fromarray(label).save(label_path)


def facts(root: Path, name: str) -> str:
    """Size of the first image's PNG, and OpenCV's time to decode it."""
    data = np.fromfile(_paths(root, name, 0)[0], np.uint8)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        cv2.imdecode(data, cv2.IMREAD_COLOR)
        seconds.append(time.process_time() - start)
    width, height = SIZES[name]
    return (f'{name}: {width}x{height}, a PNG of {data.size / 1e6:.1f} MB, which OpenCV decodes in '
            f'{median(seconds) * 1e3:.0f} ms')


def photograph(picture: np.ndarray, seed: int) -> np.ndarray:
    """A drawing, (H, W, 3) uint8, behind a lens and on a sensor."""
    blurred = cv2.GaussianBlur(picture, (0, 0), BLUR)
    noise = np.random.default_rng(seed).standard_normal(picture.shape, np.float32) * NOISE
    return (blurred + noise).clip(0, 255).astype(np.uint8)


def _paths(root: Path, name: str, index: int) -> tuple[Path, Path]:
    if name == 'gta':
        return tuple(root / f'gta/{folder}/{index + 1:05}.png' for folder in ('images', 'labels'))
    stem = f'train/drawn/drawn_{index:06}_000019'
    return (root / f'cityscapes/leftImg8bit/{stem}_leftImg8bit.png',
            root / f'cityscapes/gtFine/{stem}_gtFine_labelIds.png')
