"""Count where classes are and which of them touch, over many labels, in parallel and resumable."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmseg_camix.datasets.scanning import run_parallel, saving
from mmseg_camix.files import write_output
from mmseg_camix.ops.relations import GRID, all_contacts, count_contacts
from mmseg_camix.spatial_prior import SpatialPrior

CHUNK = 16  # labels that a process counts before it reports


@dataclass
class _Counts:
    """Sums over labels; sums of chunks are added in any order."""

    tables: list[np.ndarray]
    num_images: int = 0
    digest: int = 0

    @classmethod
    def zeros(cls, num_classes: int, cells: tuple[int, int]) -> '_Counts':
        pairs, places = (num_classes, num_classes), GRID**2
        shapes = [(num_classes, *cells), (places, num_classes), (places, *pairs), (places, *pairs), pairs, pairs]
        return cls([np.zeros(shape, np.int64) for shape in shapes])

    def add(self, other: '_Counts') -> None:
        for table, addition in zip(self.tables, other.tables):
            table += addition
        self.num_images += other.num_images
        # A sum does not depend on the order, and unlike xor it notices a file counted twice.
        self.digest = (self.digest + other.digest) % (1 << 256)

    def add_label(self, label: np.ndarray, size: tuple[int, int]) -> None:
        """Add a label, (H, W) uint8, nearest-resized to (height, width)."""
        if label.shape != size:
            label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
        counts, *contacts, touching, together = self.tables
        num_classes, rows, columns = counts.shape
        cell = (np.arange(size[0]) * rows // size[0] * columns)[:, None]
        cell = cell + np.arange(size[1]) * columns // size[1]
        index = (label.astype(np.int64) * (rows * columns) + cell)[label < num_classes]
        counts += np.bincount(index, minlength=counts.size).reshape(counts.shape)

        new = count_contacts(torch.from_numpy(label), num_classes)
        for table, addition in zip(contacts, new):
            table += addition.numpy()
        present = new[0].sum(0).numpy() > 0
        touching += all_contacts(*new[1:]).sum(0).numpy() > 0
        together += present[:, None] & present
        self.num_images += 1
        self.digest += int.from_bytes(hashlib.sha256(np.ascontiguousarray(label)).digest(), 'big')


class _Chunk(list):
    """Items that are counted together; errors name the item, not the chunk."""

    def __str__(self) -> str:
        return ''


def _count_chunk(chunk: list[Any], reader: Callable[[Any], np.ndarray], num_classes: int, size: tuple[int, int],
                 cells: tuple[int, int]) -> _Counts:
    total = _Counts.zeros(num_classes, cells)
    for item in chunk:
        total.add_label(reader(item), size)
    return total


def count_labels(items: Sequence[Any], reader: Callable[[Any], np.ndarray], class_names: Sequence[str],
                 size: tuple[int, int], stride: int = 4, jobs: int = 1, chunk: int = CHUNK, sigma: float = 0.0,
                 epsilon: float = 1e-4, partial_file: Path | None = None, key: str = '') -> SpatialPrior:
    """Count classes per location and their contacts; memory does not depend on the number of labels.

    Args:
        items: of any kind, for example paths of labels.
        reader: item -> train ids, (H, W) uint8, ignored pixels above the classes; can be pickled.
        class_names: in the order of their train ids.
        size: (height, width) to which labels are resized, nearest.
        stride: pixels per side of a cell of the result; 1 keeps every location apart.
        chunk: labels that a process counts before it reports.
        sigma, epsilon: stored as options of `SpatialPrior.probabilities`.
        partial_file: file of intermediate counts, from which an interrupted run resumes; the caller removes it.
        key: of the items and all options; counts under another key are discarded.
    """
    if not len(items):
        raise ValueError('there are no labels to count; is the source dataset empty?')
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    total, done = _load(partial_file, key, _Counts.zeros(len(class_names), cells))
    chunks = [_Chunk(items[start:start + chunk]) for start in range(0, len(items), chunk)]
    todo = [index for index in range(len(chunks)) if index not in done]
    task = partial(_count_chunk, reader=reader, num_classes=len(class_names), size=size, cells=cells)
    save = partial(_save, partial_file, key, total, done)
    with saving(save, enabled=partial_file is not None and bool(todo)) as save_if_due:
        for index, counts, failure in run_parallel(task, [chunks[index] for index in todo], jobs, 'spatial prior',
                                                   unit=f'x{chunk} labels'):
            if failure is not None:
                raise ValueError(failure)
            total.add(counts)
            done.add(todo[index])
            save_if_due()
    digest = hashlib.sha256(repr((total.digest, size, tuple(class_names))).encode()).hexdigest()
    return SpatialPrior(*total.tables, class_names=tuple(class_names), size=size, num_images=total.num_images,
                        digest=digest, sigma=sigma, epsilon=epsilon)


def _save(path: Path, key: str, total: _Counts, done: set[int]) -> None:
    tables = {f'table{i}': table for i, table in enumerate(total.tables)}
    buffer = io.BytesIO()
    np.savez(buffer, key=key, done=sorted(done), num_images=total.num_images, digest=f'{total.digest:x}', **tables)
    write_output(path, buffer.getvalue(), clean=True)


def _load(path: Path | None, key: str, zeros: _Counts) -> tuple[_Counts, set[int]]:
    """The counts saved under this key and the indices of their chunks, or zeros."""
    if path is None or not path.is_file():
        return zeros, set()
    try:
        with np.load(path, allow_pickle=False) as file:
            if file['key'] != key:
                return zeros, set()
            tables = [file[f'table{i}'] for i in range(len(zeros.tables))]
            counts = _Counts(tables, int(file['num_images']), int(str(file['digest']), 16))
            return counts, set(file['done'].tolist())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return zeros, set()
