"""Several datasets side by side (source, target, ...), their sampler, and their batches."""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS, FUNCTIONS
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..type_names import loads_label, type_name
from .seeding import permutation, seed_words, seeded

UNREADABLE = 'unreadable'  # metainfo key of a sample that replaces an unreadable one: the reason
MAX_REPLACEMENTS = 10  # samples tried instead of an unreadable one


class SampleError(RuntimeError):
    """A sample cannot be loaded; the message has its branch, its position and the reason."""

    @property
    def is_unreadable(self) -> bool:
        """Whether the file is missing or damaged, as opposed to errors of the config or of the label's encoding."""
        return isinstance(self.__cause__, OSError)


class Position(NamedTuple):
    """Index of an item of `PairedDataset`, which depends on nothing else.

    The seed is part of it, because persistent workers keep the dataset as it was when they started.
    """

    seed: int
    position: int


@DATASETS.register_module()
class PairedDataset(Dataset):
    """Branches of data, each with its own dataset, pipeline, length and order.

    An item is `{'source': {'inputs', 'data_samples'}, 'target': {...}, ...}`, which mmengine's
    `pseudo_collate` turns into a dict of branch -> dict of lists. It is a pure function of (seed, position): each
    branch visits all its images once per epoch, in its own order, and its pipeline's randomness is seeded from (seed,
    position, branch). Data are therefore identical for any number of workers, and after a resume from any position.

    Use with `sampler=dict(type='PairedSampler')`.

    Args:
        source: config of the labelled source dataset, or the dataset; None for an adaptation without source.
        target: config of the target dataset, or the dataset.
        seed: seed for plain integer indices (inspection, tests); the sampler has its own.
        skip_unreadable: replace a sample whose file cannot be read by another one, which follows from the position;
            UDAHook logs and counts them. Without it the training stops there.
        branches: further datasets by name, for example `donor`.
    """

    def __init__(self, source: dict | Dataset | None = None, target: dict | Dataset | None = None,
                 seed: int | None = None, skip_unreadable: bool = False, **branches: dict | Dataset) -> None:
        self.seed, self.skip_unreadable = seed, skip_unreadable
        branches = dict(target=target, **branches) if source is None else dict(source=source, target=target, **branches)
        self.datasets = {name: _build(name, cfg) for name, cfg in branches.items()}
        self._refuse_other_classes()
        _refuse_missing_target_labels(self.datasets['target'])
        # Branch -> {(seed, epoch): permutation}; a worker meets at most two epochs at a time.
        self._orders: dict[str, dict[tuple[int, int], np.ndarray]]
        self._orders = {name: {} for name in self.datasets}

    @property
    def metainfo(self) -> dict:
        """The first branch's, the source if there is one: classes and palette are those that the network learns."""
        return getattr(next(iter(self.datasets.values())), 'metainfo', {})

    def __len__(self) -> int:
        """Length of the longest branch; positions continue beyond it."""
        return max(len(dataset) for dataset in self.datasets.values())

    def index_at(self, branch: str, key: Position) -> int:
        """Index of a branch's image at a position."""
        size = len(self.datasets[branch])
        epoch, place = divmod(key.position, size)
        orders = self._orders[branch]
        if (key.seed, epoch) not in orders:
            while len(orders) > 1:
                orders.pop(min(orders))
            orders[key.seed, epoch] = permutation(size, key.seed, branch, 'order', epoch)
        return int(orders[key.seed, epoch][place])

    def __getitem__(self, key: Position | int) -> dict[str, dict]:
        key = self._position(key)
        return {name: self._load(name, key) for name in self.datasets}

    def _load(self, branch: str, key: Position) -> dict:
        try:
            return self._read(branch, self.index_at(branch, key), key, 'sample', key.position)
        except SampleError as error:
            if not self.skip_unreadable or not error.is_unreadable:
                raise
            return self._replacement(branch, key, error)

    def _replacement(self, branch: str, key: Position, error: SampleError) -> dict:
        """Another sample, as random as the unreadable one."""
        place, size = (branch, 'replacement', key.position), len(self.datasets[branch])
        for number in range(1, MAX_REPLACEMENTS + 1):
            index = int(seed_words(key.seed, *place, number)[0]) % size
            try:
                return _mark_replacement(self._read(branch, index, key, *place[1:], number), str(error))
            except SampleError as another:
                if not another.is_unreadable:
                    raise
        raise SampleError(f'{error}; {number} other samples tried in its place cannot be read either; check the '
                          'disk') from error

    def _read(self, branch: str, index: int, key: Position, *purpose: int | str) -> dict:
        place = f'sample {index} of branch {branch!r}, seed {key.seed}, position {key.position}'
        try:
            with seeded(key.seed, branch, *purpose):
                data = self.datasets[branch][index]
        except Exception as error:
            raise SampleError(f'{error} (while loading {place})') from error
        if data is None:
            raise SampleError(f'the pipeline of branch {branch!r} returned None for sample {index}; remove the '
                              'transform that drops samples')
        return data

    def _position(self, key: Position | int) -> Position:
        if not isinstance(key, tuple):
            if self.seed is None:
                raise TypeError("PairedDataset was indexed by a plain number; use sampler=dict(type='PairedSampler') "
                                "in the dataloader, because other samplers would repeat the same augmentations every "
                                'epoch (to inspect samples, build it with seed=0)')
            key = Position(self.seed, int(key))
        if key.position < 0:
            raise IndexError(f'position {key.position} is negative; positions are 0 or more')
        return key

    def _refuse_other_classes(self) -> None:
        first, expected = next(iter(self.datasets)), self.metainfo.get('classes')
        for name, dataset in self.datasets.items():
            classes = getattr(dataset, 'metainfo', {}).get('classes')
            if expected is None or classes is None or tuple(classes) == tuple(expected):
                continue
            differ = sorted(set(classes) ^ set(expected)) or 'the same classes in another order'
            raise ValueError(f'branches {first} and {name} have different classes: {differ}; give both the same '
                             '`metainfo=dict(classes=...)`')


@DATA_SAMPLERS.register_module()
class PairedSampler(Sampler):
    """An endless sequence of `Position`s: rank r of w yields start + r, start + r + w, ...

    Use with iteration-based loops only. To resume, set `start` to the number of positions that all ranks together have
    consumed (iterations x batch size x ranks), then create a new iterator of the dataloader; nothing is replayed.

    Args:
        dataset: the dataset; only its length is used.
        seed: set by mmengine's Runner; None draws one that all ranks share.
        start: first position.
    """

    def __init__(self, dataset: PairedDataset, seed: int | None = None, start: int = 0) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.seed = sync_random_seed() if seed is None else seed
        self.start = start

    def __iter__(self) -> Iterator[Position]:
        position = self.start + self.rank
        while True:
            yield Position(self.seed, position)
            position += self.world_size

    def __len__(self) -> int:
        """Number of this rank's positions in one epoch of the longest branch."""
        return -(-self.size // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: a position determines its epoch."""


def _build(name: str, cfg: dict | Dataset) -> Dataset:
    """Build one branch and refuse it when empty."""
    if not isinstance(cfg, (dict, Dataset)):
        raise TypeError(f'branch {name!r} of PairedDataset must be a dataset config or a dataset, got {cfg!r}')
    empty = ValueError(f'branch {name!r} of PairedDataset is empty: {cfg!r}; check its `data_root`, `data_prefix`, '
                       'suffixes and `indices`')
    try:
        dataset = DATASETS.build(cfg) if isinstance(cfg, dict) else cfg
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    except ValueError as error:
        # mmengine's error about an empty list
        if 'need at least one array' in str(error):
            raise empty from error
        raise
    if len(dataset) == 0:
        raise empty
    return dataset


def _refuse_missing_target_labels(dataset: Dataset) -> None:
    """Refuse a target whose pipeline loads labels that it does not have; adaptation needs none."""
    while not hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    loaders = [type_name(transform) for transform in transforms if loads_label(transform)]
    if not loaders or not hasattr(dataset, 'get_data_info'):
        return
    label = dataset.get_data_info(0).get('seg_map_path')
    if label is None or ('://' not in label and not os.path.isfile(label)):
        raise ValueError(f"branch 'target': its pipeline loads labels, but there is "
                         f'{"none" if label is None else f"no file {label}"}; a target needs no labels: remove '
                         f"dict(type='{loaders[0]}') from its pipeline")


def _mark_replacement(data: dict, reason: str) -> dict:
    """Record in a sample's metainfo why it replaces another; UDAHook counts it."""
    sample = data.get('data_samples')
    if hasattr(sample, 'set_metainfo'):
        sample.set_metainfo({UNREADABLE: reason})
    else:
        print_log(f'{reason}; replaced by another sample', 'current', logging.ERROR)
    return data


def replacement_reasons(batch: dict) -> Iterator[str]:
    """Yield the reasons of all replacements in a batch of branches."""
    for branch in batch.values() if isinstance(batch, dict) else ():
        for sample in branch.get('data_samples', ()) if isinstance(branch, dict) else ():
            if reason := getattr(sample, UNREADABLE, None):
                yield reason


@FUNCTIONS.register_module()
def branch_collate(items: Sequence[dict]) -> dict:
    """Collate branches like mmengine's ``pseudo_collate``, with images and labels of one size stacked in the worker.

    Each tensor of a worker costs a round trip; a stack is one tensor. Labels are transferred as bytes beside their
    data samples; the model's preprocessor puts them back (:func:`~mmseg_camix.models.uda.preprocessor.return_labels`).
    """
    batch = pseudo_collate(items)
    for branch in batch.values():
        images = branch['inputs']
        if len({image.shape for image in images}) == 1:
            branch['inputs'] = torch.stack(list(images))
        labels = _take_labels(branch['data_samples'])
        if labels is not None:
            branch['labels'] = labels
    return batch


def _take_labels(samples: list) -> Tensor | None:
    """(B, 1, H, W) uint8, taken out of the samples; None where they do not fit into it."""
    if not all(isinstance(sample, SegDataSample) and sample.keys() == ['gt_sem_seg']
               and sample.gt_sem_seg.keys() == ['data'] for sample in samples):
        return None
    labels = [sample.gt_sem_seg.data for sample in samples]
    if len({(label.shape, label.dtype) for label in labels}) > 1 or labels[0].dtype != torch.int64:
        return None
    stacked = torch.stack(labels)
    if stacked.numel() == 0 or stacked.min() < 0 or stacked.max() > 255:
        return None
    for sample in samples:
        del sample.gt_sem_seg
    return stacked.byte()
