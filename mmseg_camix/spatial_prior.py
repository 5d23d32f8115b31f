"""The spatial prior: where classes are in source labels and which of them touch, and its file.

The file holds counts, so that smoothing and epsilon can be changed without counting again.
`preparation.prior_counting` counts them.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import write_output
from .ops.prior import prior_from_counts
from .ops.relations import auto_relations, relation_strength

VERSION = 1
TOOL = 'mmseg-camix prior CONFIG --out FILE.npz'
# Factor by which the aspects of a prior and of the images may differ. Street scenes tolerate small differences: GTA at
# 1280x720 and SYNTHIA at 1280x760 differ from Cityscapes by 1.13 and 1.19. The square of a crop is refused.
MAX_STRETCH = 1.25


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    """Counts over a labelled set.

    Args:
        counts: (C, h, w) int64, pixels of each class in each cell.
        area, above, beside: int64, classes and their contacts, see `ops.relations.count_contacts`.
        touching, together: (C, C) int64, images in which two classes touch, and which show both.
        class_names: in the order of the train ids.
        size: (height, width) of the labels as they were counted, after the pipeline's resize.
        num_images: how many labels were counted.
        digest: of the counted labels and the classes; independent of their order.
        sigma: Gaussian blur for `probabilities`, in pixels of `size`.
        epsilon: least probability for `probabilities`.
    """

    counts: np.ndarray
    area: np.ndarray
    above: np.ndarray
    beside: np.ndarray
    touching: np.ndarray
    together: np.ndarray
    class_names: tuple[str, ...]
    size: tuple[int, int]
    num_images: int
    digest: str
    sigma: float = 0.0
    epsilon: float = 1e-4

    def probabilities(self, sigma: float | None = None, epsilon: float | None = None) -> Tensor:
        """Q: (C, h, w) float32, sums to 1 over C; None takes the options stored in the file."""
        sigma = self.sigma if sigma is None else sigma
        epsilon = self.epsilon if epsilon is None else epsilon
        cells = sigma * self.counts.shape[1] / self.size[0]
        return prior_from_counts(torch.from_numpy(self.counts), cells, epsilon)

    def relations(self, **options: float) -> Tensor:
        """(C, C) bool, from the contacts; options of `ops.relations.auto_relations`."""
        tables = (self.area, self.above, self.beside, self.touching, self.together)
        return auto_relations(*map(torch.from_numpy, tables), **options)

    def relation_strength(self) -> Tensor:
        """(C, C) double: contacts as a multiple of chance, see `ops.relations`."""
        return relation_strength(*map(torch.from_numpy, (self.area, self.above, self.beside)))

    def save(self, path: str) -> None:
        """Write the file, whole or not at all."""
        content = {name: np.asarray(value) for name, value in asdict(self).items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, version=VERSION, **content)
        write_output(Path(path), buffer.getvalue(), clean=True)


def load_spatial_prior(path: str, class_names: Sequence[str] | None = None) -> SpatialPrior:
    """Read a file of :meth:`SpatialPrior.save`; refuse one of other classes than `class_names`, if they are given."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: there is no spatial prior yet; build it by: {TOOL}')
    content = _read(path)
    scalars = dict(num_images=int, digest=str, sigma=float, epsilon=float)
    content.update({name: cast(content[name][()]) for name, cast in scalars.items()})
    content['class_names'] = tuple(content['class_names'].tolist())
    content['size'] = tuple(content['size'].tolist())
    prior = SpatialPrior(**content)
    _refuse_other_classes(path, prior, class_names)
    return prior


def _read(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            content = dict(file)
        version = int(content.pop('version'))
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{path} is damaged, or not a spatial prior; build it again: {TOOL}') from error
    if version != VERSION:
        raise ValueError(f'{path}: version {version} of the file format, but this code reads {VERSION}; build it '
                         f'again: {TOOL}')
    return content


def _refuse_other_classes(path: str, prior: SpatialPrior, expected: Sequence[str] | None) -> None:
    if expected is None or tuple(expected) == prior.class_names:
        return
    differ = sorted(set(expected) ^ set(prior.class_names)) or 'none, only their order'
    raise ValueError(f'{path} was counted for the classes {list(prior.class_names)}, but the network learns '
                     f'{list(expected)} (different: {differ}); build it for this config: {TOOL}')


def stretch(size: tuple[int, int], aspect: float) -> float:
    """Factor, at least 1, between the aspect of ``size``, (height, width), and another, width / height."""
    ratio = aspect * size[0] / size[1]
    return max(ratio, 1 / ratio)


def refuse_other_aspect(path: str, size: tuple[int, int], aspect: float) -> None:
    """Refuse a prior counted at ``size``, (height, width), for images of another aspect."""
    height, width = size
    if stretch(size, aspect) <= MAX_STRETCH:
        return
    raise ValueError(f'{path} was counted at {width}x{height} (aspect {width / height:.3f}), but it is to be laid on '
                     f'images of aspect {aspect:.3f}; they may differ by a factor of {MAX_STRETCH}. Build it for this '
                     f'format: {TOOL} --size WIDTH HEIGHT')
