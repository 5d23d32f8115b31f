"""Tiny images and labels in the encodings and layouts of the real datasets, with files that must not be read."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (12, 20)  # height, width
LABELLED = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='PackUDAInputs')]
UNLABELLED = LABELLED[::2]
CONDITIONS = ('fog', 'night', 'rain', 'snow')


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


def blocks(seed: int, high: int, size: tuple[int, int], side: int = 8) -> np.ndarray:
    """Draw ids below `high` in squares, (H, W)."""
    return random_ids(seed, high, (size[0] // side, size[1] // side)).repeat(side, 0).repeat(side, 1)


def make_gta(root: Path, count: int = 7) -> Path:
    for i in range(1, count + 1):
        write_image(root / f'images/{i:05}.png', i)
        write_palette_label(root / f'labels/{i:05}.png', random_ids(i, 35))
    return root


def make_acdc(root: Path) -> Path:
    """Two training images and one for validation of each condition, and their good-weather references."""
    for number, condition in enumerate(CONDITIONS):
        for split, frames in (('train', 2), ('val', 1), ('test', 1)):
            for frame in range(frames):
                seed = 10 * number + 3 * frame + len(split)
                stem = f'{condition}/{split}/GOPR0{number}/GOPR0{number}_frame_{frame:06}'
                write_image(root / f'rgb_anon/{stem}_rgb_anon.png', seed)
                reference = f'{condition}/{split}_ref/GOPR0{number}/GOPR0{number}_frame_{frame:06}'
                write_image(root / f'rgb_anon/{reference}_rgb_ref_anon.png', seed + 100)
                if split != 'test':
                    write_adverse_label(root, stem, seed)
    return root


def make_dark_zurich(root: Path) -> Path:
    """Three night images, some by day and at dusk, and two for validation."""
    for light, count in (('night', 3), ('day', 2), ('twilight', 1)):
        for frame in range(count):
            write_image(root / f'rgb_anon/train/{light}/GOPR0351/GOPR0351_frame_{frame:06}_rgb_anon.png', frame)
    for frame in range(2):
        stem = f'val/night/GOPR0356/GOPR0356_frame_{frame:06}'
        write_image(root / f'rgb_anon/{stem}_rgb_anon.png', 20 + frame)
        write_image(root / f'rgb_anon/val_ref/day/GOPR0356_ref/GOPR0356_frame_{frame:06}_ref_rgb_anon.png', 30 + frame)
        write_adverse_label(root, stem, 20 + frame)
    return root


def write_adverse_label(root: Path, stem: str, seed: int) -> None:
    """The raw ids, and what comes with them."""
    write_grey_label(root / f'gt/{stem}_gt_labelIds.png', random_ids(seed, 34))
    write_image(root / f'gt/{stem}_gt_labelColor.png', seed)
    write_grey_label(root / f'gt/{stem}_gt_invIds.png', random_ids(seed, 2))
