"""Write the miniature benchmark with the paths and encodings of the real data sets."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from . import labels as L
from .render import default_size, render
from .styles import DOMAINS

VERSION = 1  # increase it with every change of the drawings
SETS = tuple(DOMAINS)
CITIES = dict(train=('minihagen', 'minidorf', 'ministadt', 'miniburg'), val=('minikirchen', 'minimund'))
_MARGIN = 8  # pixels between the pictures of a contact sheet
_RECORD, _BEGUN = 'mini.json', 'mini.unfinished.json'


@dataclass(frozen=True)
class Job:
    """An image of a set: what to draw, and its two files relative to the root."""

    name: str
    split: str
    index: int
    seed: int
    size: tuple[int, int]  # width, height
    image: str
    label: str


@dataclass(frozen=True)
class SetOptions:
    """What determines the content of a set."""

    seed: int
    width: int
    height: int
    train: int
    val: int


def options_for(name: str, seed: int, train: int, val: int, height: int) -> SetOptions:
    """A set's options; SYNTHIA has no validation images."""
    width, rows = default_size(name, height)
    return SetOptions(seed, width, rows, train, 0 if name == 'synthia' else val)


def jobs_of(name: str, options: SetOptions) -> list[Job]:
    """All images of a set."""
    return [Job(name, split, index, options.seed, (options.width, options.height),
                *_files(name, split, index, options.train))
            for split, count in (('train', options.train), ('val', options.val)) for index in range(count)]


def _files(name: str, split: str, index: int, train: int) -> tuple[str, str]:
    """The places of an image and its label, as in the real set."""
    if name == 'gta':
        stem = _gta_stem(split, index, train)
        return f'gta/images/{stem}.png', f'gta/labels/{stem}.png'
    if name == 'synthia':
        return f'synthia/RGB/{index:07d}.png', f'synthia/GT/LABELS/{index:07d}.png'
    sequence, city = divmod(index, len(CITIES[split]))
    stem = f'{split}/{CITIES[split][city]}/{CITIES[split][city]}_{sequence:06d}_000019'
    return f'cityscapes/leftImg8bit/{stem}_leftImg8bit.png', f'cityscapes/gtFine/{stem}_gtFine_labelIds.png'


def _gta_stem(split: str, index: int, train: int) -> str:
    return f'{1 + index + (train if split == "val" else 0):05d}'


def write_image(root: Path, job: Job) -> None:
    """Draw one image and write its two files, the label last."""
    image, label = render(job.name, job.split, job.index, job.seed, job.size)
    _atomic(root / job.image, lambda path: _cv2_write(path, image[..., ::-1]))
    save = dict(gta=_save_palette, synthia=_save_synthia, cityscapes=_cv2_write)[job.name]
    _atomic(root / job.label, lambda path: save(path, label))


def _atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a temporary file and rename it when it is complete."""
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cv2_write(path: Path, pixels: np.ndarray) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f'cannot write {path}; is the disk full?')


def _save_palette(path: Path, label: np.ndarray) -> None:
    """GTA: a palette PNG of raw ids with Cityscapes' colours."""
    picture = Image.fromarray(label)
    picture.putpalette(L.palette().ravel().tolist())
    picture.save(path)


def _save_synthia(path: Path, label: np.ndarray) -> None:
    """SYNTHIA: 16 bit, the class in the first channel of the PNG (the last in OpenCV's order)."""
    pixels = np.zeros((*label.shape, 3), np.uint16)
    pixels[..., 2] = L.to_synthia()[label]
    _cv2_write(path, pixels)


def write_benchmark(root: str | Path, sets: tuple[str, ...] = SETS, seed: int = 0, train: int = 400, val: int = 100,
                    height: int = 96, workers: int = 1, overwrite: bool = False) -> dict[str, int]:
    """Draw the sets that are missing below `root`, or complete them.

    Returns the number of images drawn by set; 0 for a set that was complete.
    """
    root, unknown = Path(root), sorted(set(sets) - set(SETS))
    if unknown:
        raise ValueError(f'unknown sets {unknown}; choose from {list(SETS)}')
    wanted = {name: options_for(name, seed, train, val, height) for name in sets}
    recorded = _check_place(root, wanted, overwrite)
    root.mkdir(parents=True, exist_ok=True)
    record = dict(version=VERSION, sets=recorded | {name: asdict(options) for name, options in wanted.items()})
    missing = {name: [job for job in jobs_of(name, options)
                      if not ((root / job.label).exists() and (root / job.image).exists())]
               for name, options in wanted.items()}
    if any(missing.values()) or not (root / _RECORD).exists():
        _write_text(root / _BEGUN, json.dumps(record, indent=2) + '\n')
        _draw(root, [job for jobs in missing.values() for job in jobs], workers)
    if 'gta' in wanted:  # its split lists hold names without suffix
        for split, count in (('train', wanted['gta'].train), ('val', wanted['gta'].val)):
            _write_text(root / 'gta' / f'{split}.txt', ''.join(
                f'{_gta_stem(split, index, wanted["gta"].train)}\n' for index in range(count)))
    _write_text(root / _RECORD, json.dumps(record, indent=2) + '\n')
    (root / _BEGUN).unlink(missing_ok=True)
    return {name: len(jobs) for name, jobs in missing.items()}


def _check_place(root: Path, wanted: dict[str, SetOptions], overwrite: bool) -> dict[str, dict]:
    """The recorded sets at this place; refuses to mix sets of other options or to overwrite foreign data."""
    record: dict = {}
    for file in (_RECORD, _BEGUN):
        if (root / file).exists():
            record = json.loads((root / file).read_text())
    recorded = dict(record.get('sets', {}))
    for name, options in wanted.items():
        if not (root / name).exists():
            recorded.pop(name, None)
            continue
        if name not in recorded:
            raise FileExistsError(f'{root / name} exists but was not made by this tool (no entry in {root / _RECORD}) '
                                  'and is never overwritten; choose another --out')
        if overwrite:
            shutil.rmtree(root / name)
        elif recorded[name] != asdict(options) or record['version'] != VERSION:
            raise FileExistsError(
                f'{root / name} was made with other options: {recorded[name]}, version {record["version"]}; requested: '
                f'{asdict(options)}, version {VERSION}. Choose another --out or the same options, or pass --overwrite')
    stale = [name for name in recorded if name not in wanted]
    if stale and record['version'] != VERSION:
        raise FileExistsError(f'{root} also holds {stale} of version {record["version"]}; this is version {VERSION}. '
                              'Draw all sets together with --overwrite, or choose another --out')
    return recorded


def _draw(root: Path, jobs: list[Job], workers: int) -> None:
    for folder in {(root / file).parent for job in jobs for file in (job.image, job.label)}:
        folder.mkdir(parents=True, exist_ok=True)
    progress = partial(tqdm, total=len(jobs), desc='drawing', unit=' images')
    if workers <= 1:
        for job in progress(jobs):
            write_image(root, job)
        return
    # Where available, fork: workers then do not import everything again.
    methods = multiprocessing.get_all_start_methods()
    context, threads = multiprocessing.get_context('fork' if 'fork' in methods else 'spawn'), cv2.getNumThreads()
    cv2.setNumThreads(1)  # a forked process inherits the locks of OpenCV's threads, but not the threads
    try:
        with context.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            for _ in progress(pool.imap_unordered(partial(write_image, root), jobs, chunksize=4)):
                pass
    finally:
        cv2.setNumThreads(threads)


def _write_text(path: Path, text: str) -> None:
    _atomic(path, lambda place: place.write_text(text))


def contact_sheet(sets: tuple[str, ...], indices: tuple[int, ...] = (0, 1, 2), seed: int = 0,
                  height: int = 256) -> np.ndarray:
    """Training pictures above their coloured labels: (H, W, 3) uint8 RGB on white.

    All pictures have the width of a Cityscapes picture with `height` rows.
    """
    colours, width = L.palette(), 2 * height
    rows = []
    for name in sets:
        size = width, round(width / DOMAINS[name].layout.aspect)
        pairs = [render(name, 'train', index, seed, size) for index in indices]
        rows.append(_row([image for image, _ in pairs]))
        rows.append(_row([colours[label] for _, label in pairs]))
    return cv2.copyMakeBorder(np.vstack(rows), _MARGIN, 0, _MARGIN, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _row(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size side by side, a white margin to the right and below each."""
    border = (0, _MARGIN, 0, _MARGIN, cv2.BORDER_CONSTANT)
    return np.hstack([cv2.copyMakeBorder(p, *border, value=(255, 255, 255)) for p in pictures])


def write_preview(path: str | Path, sets: tuple[str, ...], seed: int = 0) -> None:
    """Write the contact sheet as an image file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _cv2_write(Path(path), contact_sheet(sets, seed=seed)[..., ::-1])
