"""Tiny datasets as downloaded, made file by file."""

from pathlib import Path

import pytest

from .tiny import make_gta, random_ids, write_16_bit_label, write_grey_label, write_image


@pytest.fixture
def gta(tmp_path: Path) -> Path:
    return make_gta(tmp_path / 'gta')


@pytest.fixture
def synthia(tmp_path: Path) -> Path:
    root = tmp_path / 'synthia'
    for i in range(3):
        write_image(root / f'RGB/{i:07}.png', i)
        write_16_bit_label(root / f'GT/LABELS/{i:07}.png', random_ids(i, 23))
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two cities of validation images, and five training images without labels."""
    root = tmp_path / 'cityscapes'
    for i in range(5):
        write_image(root / f'leftImg8bit/train/aachen/aachen_{i:06}_000019_leftImg8bit.png', 50 + i)
    for i, city in enumerate(('lindau', 'ulm')):
        name = f'val/{city}/{city}_000000_000019'
        write_image(root / f'leftImg8bit/{name}_leftImg8bit.png', 70 + i)
        write_grey_label(root / f'gtFine/{name}_gtFine_labelIds.png', random_ids(i, 34))
        write_grey_label(root / f'gtFine/{name}_gtFine_instanceIds.png', random_ids(i, 34))
    return root
