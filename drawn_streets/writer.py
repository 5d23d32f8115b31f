"""Writes the miniature benchmark in the on-disk layout and encoding of the real data sets."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
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

VERSION = 1  # raise it with every change of what is drawn
SETS = tuple(DOMAINS)
CITIES = dict(train=('minihagen', 'minidorf', 'ministadt', 'miniburg'),
              val=('minikirchen', 'minimund'))
_RECORD, _BEGUN = 'mini.json', 'mini.unfinished.json'


@dataclass(frozen=True)
class Job:
    """One image of a set: what to draw, and the two files it becomes, relative to the root."""

    name: str
    split: str
    index: int
    seed: int
    size: tuple[int, int]  # width, height
    image: str
    label: str


@dataclass(frozen=True)
class SetOptions:
    """What decides on the contents of one set."""

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
    place = dict(gta=_gta_files, synthia=_synthia_files, cityscapes=_cityscapes_files)[name]
    return [Job(name, split, index, options.seed, (options.width, options.height),
                *place(split, index, options))
            for split, count in (('train', options.train), ('val', options.val))
            for index in range(count)]


def _gta_stem(split: str, index: int, options: SetOptions) -> str:
    return f'{1 + index + (options.train if split == "val" else 0):05d}'


def _gta_files(split: str, index: int, options: SetOptions) -> tuple[str, str]:
    stem = _gta_stem(split, index, options)
    return f'gta/images/{stem}.png', f'gta/labels/{stem}.png'


def _synthia_files(split: str, index: int, options: SetOptions) -> tuple[str, str]:
    return f'synthia/RGB/{index:07d}.png', f'synthia/GT/LABELS/{index:07d}.png'


def _cityscapes_files(split: str, index: int, options: SetOptions) -> tuple[str, str]:
    cities = CITIES[split]
    city, sequence = cities[index % len(cities)], index // len(cities)
    stem = f'{split}/{city}/{city}_{sequence:06d}_000019'
    return (f'cityscapes/leftImg8bit/{stem}_leftImg8bit.png',
            f'cityscapes/gtFine/{stem}_gtFine_labelIds.png')


# --- one image --------------------------------------------------------------------------------------

def write_image(root: Path, job: Job) -> None:
    """Draw one image and write its two files, the label last."""
    image, label = render(job.name, job.split, job.index, job.seed, job.size)
    _atomic(root / job.image, lambda path: _cv2_write(path, image[..., ::-1]))
    save = dict(gta=_save_palette, synthia=_save_synthia, cityscapes=_cv2_write)[job.name]
    _atomic(root / job.label, lambda path: save(path, label))


def _atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Nothing half-written: a temporary neighbour is renamed when it is complete."""
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cv2_write(path: Path, pixels: np.ndarray) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f'Could not write {path}; is the disk full?')


def _save_palette(path: Path, label: np.ndarray) -> None:
    """GTA: a palette PNG of raw ids with Cityscapes' colours."""
    picture = Image.fromarray(label)
    picture.putpalette(L.palette().ravel().tolist())
    picture.save(path)


def _save_synthia(path: Path, label: np.ndarray) -> None:
    """SYNTHIA: 16 bit, the class in the first channel of the PNG, which OpenCV counts from behind."""
    pixels = np.zeros((*label.shape, 3), np.uint16)
    pixels[..., 2] = L.to_synthia()[label]
    _cv2_write(path, pixels)


# --- the whole benchmark -----------------------------------------------------------------------------

def write_benchmark(root: str | Path, sets: tuple[str, ...] = SETS, seed: int = 0,
                    train: int = 400, val: int = 100, height: int = 96, workers: int = 1,
                    overwrite: bool = False) -> dict[str, int]:
    """Make the sets that are missing below `root`, or complete them.

    Returns how many images were drawn, by set; 0 where a set was complete already.
    """
    root = Path(root)
    unknown = sorted(set(sets) - set(SETS))
    if unknown:
        raise ValueError(f'Unknown sets {unknown}; choose from {list(SETS)}.')
    wanted = {name: options_for(name, seed, train, val, height) for name in sets}
    recorded = _check_place(root, wanted, overwrite)
    root.mkdir(parents=True, exist_ok=True)
    record = dict(version=VERSION, sets=recorded | {n: asdict(o) for n, o in wanted.items()})
    todo = {name: [job for job in jobs_of(name, options) if not _exists(root, job)]
            for name, options in wanted.items()}
    if any(todo.values()) or not (root / _RECORD).exists():
        _write_json(root / _BEGUN, record)
        _draw(root, [job for jobs in todo.values() for job in jobs], workers)
    if 'gta' in wanted:
        _write_lists(root, wanted['gta'])
    _write_json(root / _RECORD, record)
    (root / _BEGUN).unlink(missing_ok=True)
    return {name: len(jobs) for name, jobs in todo.items()}


def _exists(root: Path, job: Job) -> bool:
    return (root / job.label).exists() and (root / job.image).exists()


def _check_place(root: Path, wanted: dict[str, SetOptions], overwrite: bool) -> dict[str, dict]:
    """What the record says of the sets at this place; refuses to mix or to destroy."""
    record: dict = {}
    for file in (_RECORD, _BEGUN):
        if (root / file).exists():
            record = json.loads((root / file).read_text())
    found = dict(record.get('sets', {}))
    for name, options in wanted.items():
        if not (root / name).exists():
            found.pop(name, None)
            continue
        if name not in found:
            raise FileExistsError(
                f'{root / name} exists but was not made by this tool (no entry in '
                f'{root / _RECORD}). Choose another --out; it is never overwritten.')
        if found[name] == asdict(options) and record['version'] == VERSION and not overwrite:
            continue
        if not overwrite:
            raise FileExistsError(
                f'{root / name} was made with other options: {found[name]}, version '
                f'{record["version"]}; asked for: {asdict(options)}, version {VERSION}. Choose '
                f'another --out, ask for the same options, or pass --overwrite to make it anew.')
        shutil.rmtree(root / name)
    stale = [name for name in found if name not in wanted]
    if stale and record['version'] != VERSION:
        raise FileExistsError(
            f'{root} also holds {stale} of version {record["version"]}, this is version '
            f'{VERSION}. Make all sets together with --overwrite, or choose another --out.')
    return found


def _draw(root: Path, jobs: list[Job], workers: int) -> None:
    for folder in {(root / file).parent for job in jobs for file in (job.image, job.label)}:
        folder.mkdir(parents=True, exist_ok=True)
    for _ in tqdm(_results(root, jobs, workers), total=len(jobs), desc='drawing', unit='image'):
        pass


def _results(root: Path, jobs: list[Job], workers: int) -> Iterator[None]:
    if workers <= 1:
        for job in jobs:
            yield write_image(root, job)
        return
    # fork, where there is one: workers then need not import everything again
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else 'spawn')
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a forked process inherits the locks of OpenCV's threads, but not the threads
    try:
        with context.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            yield from pool.imap_unordered(partial(write_image, root), jobs, chunksize=4)
    finally:
        cv2.setNumThreads(threads)


def _write_lists(root: Path, options: SetOptions) -> None:
    """GTA's split lists: names without suffix."""
    for split, count in (('train', options.train), ('val', options.val)):
        text = ''.join(f'{_gta_stem(split, i, options)}\n' for i in range(count))
        _atomic(root / 'gta' / f'{split}.txt', lambda path, text=text: path.write_text(text) and None)


def _write_json(path: Path, content: dict) -> None:
    _atomic(path, lambda place: place.write_text(json.dumps(content, indent=2) + '\n') and None)
