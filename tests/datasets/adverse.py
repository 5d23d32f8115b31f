"""Tiny ACDC and Dark Zurich in their real layout, with the files beside them that must not be read."""

from pathlib import Path

from .tiny import random_ids, write_grey_label, write_image

CONDITIONS = ('fog', 'night', 'rain', 'snow')


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
                    write_label(root, stem, seed)
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
        write_label(root, stem, 20 + frame)
    return root


def write_label(root: Path, stem: str, seed: int) -> None:
    """The raw ids, and what comes with them."""
    write_grey_label(root / f'gt/{stem}_gt_labelIds.png', random_ids(seed, 34))
    write_image(root / f'gt/{stem}_gt_labelColor.png', seed)
    write_grey_label(root / f'gt/{stem}_gt_invIds.png', random_ids(seed, 2))
