"""Counts where classes are and which of them touch, over many labels, streaming and in parallel."""
import hashlib
import io
import multiprocessing
import signal
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ..datasets.parallel import forking_opencv
from ..files import write_output
from ..ops.relations import GRID, all_contacts, count_contacts
from ..spatial_prior import SpatialPrior

SAVE_EVERY = 30.0  # seconds between savings of what is counted so far


@dataclass
class _Counts:
    """What one worker has seen; adding two is all that is ever done with them."""

    tables: list[np.ndarray]
    num_images: int = 0
    digest: int = 0

    def add(self, other: '_Counts') -> None:
        for mine, theirs in zip(self.tables, other.tables):
            mine += theirs
        self.num_images += other.num_images
        # A sum does not depend on the order, and unlike xor it notices a file counted twice.
        self.digest = (self.digest + other.digest) % (1 << 256)


def _empty(num_classes: int, cells: tuple[int, int]) -> _Counts:
    pairs, places = (num_classes, num_classes), GRID**2
    shapes = [(num_classes, *cells), (places, num_classes), (places, *pairs), (places, *pairs),
              pairs, pairs]
    return _Counts([np.zeros(shape, np.int64) for shape in shapes])


def _count_one(total: _Counts, label: np.ndarray, size: tuple[int, int]) -> None:
    """Adds one label, (H, W) uint8, nearest-resized to (height, width)."""
    if label.shape != size:
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    counts, *contacts, touching, together = total.tables
    num_classes, rows, columns = counts.shape
    cell = (np.arange(size[0]) * rows // size[0] * columns)[:, None]
    cell = cell + np.arange(size[1]) * columns // size[1]
    valid = label < num_classes
    index = (label.astype(np.int64) * (rows * columns) + cell)[valid]
    counts += np.bincount(index, minlength=counts.size).reshape(counts.shape)

    new = count_contacts(torch.from_numpy(label), num_classes)
    for table, addition in zip(contacts, new):
        table += addition.numpy()
    present = new[0].sum(0).numpy() > 0
    touching += all_contacts(*new[1:]).sum(0).numpy() > 0
    together += present[:, None] & present
    total.num_images += 1
    total.digest += int.from_bytes(hashlib.sha256(np.ascontiguousarray(label)).digest(), 'big')


def _count_chunk(
    items: list[Any],
    reader: Callable[[Any], np.ndarray],
    num_classes: int,
    size: tuple[int, int],
    cells: tuple[int, int],
) -> _Counts:
    total = _empty(num_classes, cells)
    for item in items:
        _count_one(total, reader(item), size)
    return total


def _chunks(items: Iterable[Any], length: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, length)):
        yield chunk


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent


def count_labels(
    items: Sequence[Any],
    reader: Callable[[Any], np.ndarray],
    class_names: Sequence[str],
    size: tuple[int, int],
    stride: int = 4,
    workers: int = 0,
    progress: bool = True,
    chunk: int = 16,
    sigma: float = 0.0,
    epsilon: float = 1e-4,
    kept: Path | None = None,
    key: str = '',
) -> SpatialPrior:
    """Counts classes per location and their contacts, streaming: memory depends on no set's size.

    Args:
        items: of any kind, for example paths of labels.
        reader: gives an item's train ids, (H, W) uint8, void above the classes; can be pickled.
        class_names: the label set, in the order of its train ids.
        size: (height, width) to which labels are resized, nearest.
        stride: pixels per side of a cell of the result; 1 keeps every location apart.
        workers: processes; 0 counts in this one.
        progress: shows a bar.
        chunk: labels that a process counts before it reports.
        sigma, epsilon: stored as options of `SpatialPrior.probabilities`.
        kept: file for what is counted so far, from which a run that was killed goes on; whoever saves the result
            removes it.
        key: of the items and all options; what was kept under another one is counted again.
    """
    if not len(items):
        raise ValueError('there are no labels to count; is the source dataset empty?')
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    total, done = _go_on(kept, key, _empty(len(class_names), cells))
    count = partial(
        _count_chunk, reader=reader, num_classes=len(class_names), size=size, cells=cells
    )
    todo, saved = [one for one in enumerate(_chunks(items, chunk)) if one[0] not in done], time.monotonic()
    try:
        with tqdm(total=len(items), initial=total.num_images, disable=not progress, unit='label') as bar:
            for index, part in _run(count, todo, workers):
                total.add(part)
                done.add(index)
                bar.update(part.num_images)
                if kept and time.monotonic() - saved > SAVE_EVERY:
                    _keep(kept, key, total, done)
                    saved = time.monotonic()
    finally:  # also after Ctrl-C
        if kept and todo:
            _keep(kept, key, total, done)
    digest = hashlib.sha256(repr((total.digest, size, tuple(class_names))).encode()).hexdigest()
    return SpatialPrior(
        *total.tables,
        class_names=tuple(class_names),
        size=size,
        num_images=total.num_images,
        digest=digest,
        sigma=sigma,
        epsilon=epsilon,
    )


def _run(
    count: Callable[[list[Any]], _Counts], chunks: Iterable[tuple[int, list[Any]]], workers: int
) -> Iterator[tuple[int, _Counts]]:
    """Counts of numbered chunks, with their numbers, in any order."""
    count = partial(_numbered, count=count)
    if workers == 0:
        yield from map(count, chunks)
        return
    with forking_opencv(), multiprocessing.Pool(workers, initializer=_one_thread) as pool:
        yield from pool.imap_unordered(count, chunks)


def _numbered(one: tuple[int, list[Any]], count: Callable[[list[Any]], _Counts]) -> tuple[int, _Counts]:
    return one[0], count(one[1])


def _keep(path: Path, key: str, total: _Counts, done: set[int]) -> None:
    tables = {f'table{i}': table for i, table in enumerate(total.tables)}
    buffer = io.BytesIO()
    np.savez(buffer, key=key, done=sorted(done), num_images=total.num_images, digest=f'{total.digest:x}', **tables)
    write_output(path, buffer.getvalue(), clean=True)


def _go_on(path: Path | None, key: str, empty: _Counts) -> tuple[_Counts, set[int]]:
    """What was kept under this key, or nothing."""
    if path is None or not path.is_file():
        return empty, set()
    try:
        with np.load(path, allow_pickle=False) as file:
            if file['key'] != key:
                return empty, set()
            tables = [file[f'table{i}'] for i in range(len(empty.tables))]
            counts = _Counts(tables, int(file['num_images']), int(str(file['digest']), 16))
            return counts, set(file['done'].tolist())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return empty, set()
