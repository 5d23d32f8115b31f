"""A few images under the names of CamVid's frames, in each of the layouts that are read."""

from pathlib import Path

import numpy as np
from PIL import Image

from .tiny import blocks, write_grey_label, write_image

# Colours of Cambridge's files, and the index of their class; 11 is void.
COLOURS = np.array([[int(number) for number in line.split()] for line in '''\
64 128 64 9, 192 0 128 1, 0 128 192 10, 0 128 64 1, 128 0 0 1, 64 0 128 8, 64 0 192 9, 192 128 64 9, 192 192 128 2,
64 64 128 7, 128 0 192 3, 192 0 64 3, 128 128 64 6, 192 0 192 10, 128 64 64 8, 64 192 128 4, 64 64 0 9, 128 64 128 3,
128 128 192 4, 0 0 192 4, 192 128 128 6, 128 128 128 0, 64 128 192 8, 0 0 64 2, 0 64 64 6, 192 64 128 8, 128 128 0 5,
192 128 192 8, 64 0 64 1, 192 192 0 5, 0 0 0 11, 64 192 0 1'''.replace('\n', '').split(',')])
FRAMES = {
    ('day', 'train'): ['0006R0_f00930', '0006R0_f01260', '0016E5_00390'], ('day', 'val'): ['Seq05VD_f00000'],
    ('dusk', 'train'): ['0001TP_006690', '0001TP_008520'], ('dusk', 'val'): ['0001TP_008550', '0001TP_010380']}
SEGNET = {'0006R0_f00930': 'val', '0016E5_00390': 'test', 'Seq05VD_f00000': 'test', '0001TP_008520': 'test'}
LAYOUTS = ('ours', 'flat', 'segnet', 'cambridge')


def indices(frame: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W), 0 to 11, in squares of eight pixels where they fit."""
    return blocks(sum(map(ord, frame)), 12, size, 8 if min(size) >= 8 else 1)


def places(layout: str, frame: str, part: str = 'day/train') -> tuple[str, str]:
    """An image and its label below the data root."""
    folder = SEGNET.get(frame, 'train')
    return dict(ours=(f'images/{part}/{frame}.jpg', f'labels/{part}/{frame}.png'),
                flat=(f'images/{frame}.jpg', f'labels/{frame}.png'),
                segnet=(f'{folder}/{frame}.png', f'{folder}annot/{frame}.png'),
                cambridge=(f'701_StillsRaw_full/{frame}.png', f'LabeledApproved_full/{frame}_L.png'))[layout]


def make_camvid(root: Path, layout: str = 'ours', size: tuple[int, int] = (16, 24)) -> Path:
    for part, frames in FRAMES.items():
        for frame in frames:
            image, label = places(layout, frame, '/'.join(part))
            write_image(root / image, len(frame), size)
            if layout == 'cambridge':
                write_colours(root / label, indices(frame, size))
            else:
                write_grey_label(root / label, indices(frame, size))
    return root


def write_colours(path: Path, ids: np.ndarray) -> None:
    """As Cambridge writes them, each pixel in one of the colours of its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    choice = np.random.RandomState(0).rand(*ids.shape, len(COLOURS)) * (COLOURS[:, 3] == ids[..., None])
    Image.fromarray(COLOURS[choice.argmax(-1), :3].astype(np.uint8)).save(path)
