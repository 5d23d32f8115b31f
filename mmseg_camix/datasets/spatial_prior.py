"""What source labels say about where classes are and which of them touch: counting, and the file.

The file holds counts, so that smoothing and epsilon can be changed without counting again.
"""

import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..ops.prior import prior_from_counts
from ..ops.relations import auto_relations, count_adjacency

VERSION = 1
TOOL = 'python tools/dataset/build_spatial_prior.py CONFIG --out FILE.npz'


@dataclass(frozen=True)
class SpatialPrior:
    """Counts over a labelled set.

    Args:
        counts: (C, h, w) int64, pixels of each class in each cell.
        touch, above: (C, C) int64, contacts of classes, see `ops.relations.count_adjacency`.
        touching, together: (C, C) int64, images in which two classes touch, and which show both.
        class_names: in the order of the train ids.
        size: (height, width) of the labels as they were counted, after the pipeline's resize.
        num_images: how many labels were counted.
        digest: of the counted labels and the classes; independent of their order.
        sigma: Gaussian blur for `probabilities`, in pixels of `size`.
        epsilon: least probability for `probabilities`.
    """

    counts: np.ndarray
    touch: np.ndarray
    above: np.ndarray
    touching: np.ndarray
    together: np.ndarray
    class_names: tuple[str, ...]
    size: tuple[int, int]
    num_images: int
    digest: str
    sigma: float = 0.0
    epsilon: float = 1e-6

    def probabilities(self, sigma: float | None = None, epsilon: float | None = None) -> Tensor:
        """Q: (C, h, w) float32, sums to 1 over C; None takes the options stored in the file."""
        sigma = self.sigma if sigma is None else sigma
        epsilon = self.epsilon if epsilon is None else epsilon
        cells = sigma * self.counts.shape[1] / self.size[0]
        return prior_from_counts(torch.from_numpy(self.counts), cells, epsilon)

    def relations(self, **options: float) -> Tensor:
        """(C, C) bool, from the contacts alone; options of `ops.relations.auto_relations`."""
        tables = (self.touch, self.above, self.touching, self.together)
        return auto_relations(*map(torch.from_numpy, tables), **options)

    def save(self, path: str) -> None:
        """Write the file in one piece: an interrupted run leaves no half of it behind."""
        folder = os.path.dirname(os.path.abspath(path))
        os.makedirs(folder, exist_ok=True)
        content = {name: np.asarray(value) for name, value in asdict(self).items()}
        with tempfile.NamedTemporaryFile(dir=folder, suffix='.tmp', delete=False) as file:
            try:
                np.savez_compressed(file, version=VERSION, **content)
            except BaseException:
                os.unlink(file.name)
                raise
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)


def load_spatial_prior(
    path: str,
    class_names: Sequence[str] | None = None,
    aspect: float | None = None,
    max_stretch: float = 1.25,
) -> SpatialPrior:
    """Read a file of :meth:`SpatialPrior.save` and refuse one that does not fit.

    Args:
        class_names: what the network learns; None accepts any.
        aspect: width / height of the images on which the prior will be laid; None accepts any.
        max_stretch: how far the two aspects may differ, as a factor. Street scenes bear a little:
            GTA at 1280x720 and SYNTHIA at 1280x760 differ from Cityscapes by 1.13 and 1.19. The
            square of a crop, or another camera's format, does not pass.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: there is no spatial prior yet; build it by: {TOOL}')
    with np.load(path, allow_pickle=False) as file:
        content = dict(file)
    version = int(content.pop('version', -1))
    if version != VERSION:
        raise ValueError(
            f'{path}: version {version} of the file format, but this code reads '
            f'{VERSION}; build it anew: {TOOL}'
        )
    scalars = dict(num_images=int, digest=str, sigma=float, epsilon=float)
    content.update({name: cast(content[name][()]) for name, cast in scalars.items()})
    content['class_names'] = tuple(content['class_names'].tolist())
    content['size'] = tuple(content['size'].tolist())
    prior = SpatialPrior(**content)
    _refuse_other_classes(path, prior, class_names)
    _refuse_other_aspect(path, prior, aspect, max_stretch)
    return prior


def _refuse_other_classes(path: str, prior: SpatialPrior, expected: Sequence[str] | None) -> None:
    if expected is None or tuple(expected) == prior.class_names:
        return
    differ = sorted(set(expected) ^ set(prior.class_names)) or 'none, only their order'
    raise ValueError(
        f'{path} was counted for the classes {list(prior.class_names)}, but the '
        f'network learns {list(expected)} (different: {differ}); build it for this '
        f'config: {TOOL}'
    )


def _refuse_other_aspect(
    path: str, prior: SpatialPrior, aspect: float | None, max_stretch: float
) -> None:
    height, width = prior.size
    if aspect is None or max(aspect * height / width, width / height / aspect) <= max_stretch:
        return
    raise ValueError(
        f'{path} was counted at {width}x{height} (aspect {width / height:.3f}), but '
        f'it is to be laid on images of aspect {aspect:.3f}; they may differ by a '
        f'factor of {max_stretch}. Build it for this format: {TOOL} --size WIDTH '
        'HEIGHT'
    )


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
    tables = [np.zeros((num_classes, *cells), np.int64)]
    return _Counts(tables + [np.zeros((num_classes, num_classes), np.int64) for _ in range(4)])


def _count_one(total: _Counts, label: np.ndarray, size: tuple[int, int]) -> None:
    """Adds one label, (H, W) uint8, nearest-resized to (height, width)."""
    if label.shape != size:
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    counts, touch, above, touching, together = total.tables
    num_classes, rows, columns = counts.shape
    cell = (np.arange(size[0]) * rows // size[0] * columns)[:, None]
    cell = cell + np.arange(size[1]) * columns // size[1]
    valid = label < num_classes
    index = (label.astype(np.int64) * (rows * columns) + cell)[valid]
    counts += np.bincount(index, minlength=counts.size).reshape(counts.shape)

    new_touch, new_above = (
        t.numpy() for t in count_adjacency(torch.from_numpy(label), num_classes)
    )
    present = np.bincount(label[valid], minlength=num_classes) > 0
    touch += new_touch
    above += new_above
    touching += new_touch > 0
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
    epsilon: float = 1e-6,
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
    """
    if not len(items):
        raise ValueError('there are no labels to count; is the source dataset empty?')
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    total = _empty(len(class_names), cells)
    count = partial(
        _count_chunk, reader=reader, num_classes=len(class_names), size=size, cells=cells
    )
    with tqdm(total=len(items), disable=not progress, unit='label') as bar:
        for part in _run(count, _chunks(items, chunk), workers):
            total.add(part)
            bar.update(part.num_images)
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
    count: Callable[[list[Any]], _Counts], chunks: Iterable[list[Any]], workers: int
) -> Iterator[_Counts]:
    if workers == 0:
        yield from map(count, chunks)
        return
    with multiprocessing.Pool(workers, initializer=_one_thread) as pool:
        yield from pool.imap_unordered(count, chunks)
