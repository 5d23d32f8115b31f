"""How many pixels of each class each image of a dataset has."""

import json
import os
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from .joined import plain_sample, plain_sets

STATS_FILE = 'sample_class_stats.json'  # of mmseg-camix stats


def class_counts(dataset: Dataset, stats: str | None = '') -> np.ndarray:
    """(N, C) int64 pixels of each class in each image, before any resizing.

    Args:
        dataset: a labelled data set, or several in a `ConcatDataset`.
        stats: JSON of `mmseg-camix stats`, or this table as a .npy file; without it all labels are read.
    """
    joined = plain_sets(dataset)
    if strange := [type(plain).__name__ for plain in joined if not hasattr(plain, 'pipeline')]:
        raise ValueError(f'{strange[0]} wraps other data sets, but sampling by class counts the labels of plain ones; '
                         'give it data sets with a `pipeline`, such as FolderDataset or GTADataset, or a ConcatDataset '
                         'of them')
    if not stats:
        return count_pixels(dataset)
    if stats.endswith('.npy'):
        return counts_from_table(dataset, stats)
    if len(joined) > 1:
        raise ValueError(f'{stats}: the statistics of one data set, but {len(joined)} are joined; leave `stats` out to '
                         'count when training starts, or give the table of all as a .npy file')
    return counts_from_stats(joined[0], stats)


def count_pixels(dataset: Dataset) -> np.ndarray:
    """The counts from the labels as the pipeline loads them."""
    return np.stack([pixels_of_image(dataset, index) for index in range(len(dataset))])


def pixels_of_image(dataset: Dataset, index: int) -> np.ndarray:
    """(C,) int64 pixels of each class in one image."""
    return np.bincount(_label(dataset, index).ravel(), minlength=256)[:len(dataset.metainfo['classes'])]


def counts_from_table(dataset: Dataset, path: str) -> np.ndarray:
    """The counts from a .npy file."""
    counts, expected = np.load(path, allow_pickle=False), (len(dataset), len(dataset.metainfo['classes']))
    if counts.shape != expected:
        raise ValueError(f'{path}: a table of {counts.shape}, but the dataset has (images, classes) {expected}; count '
                         'again')
    return counts


def _label(dataset: Dataset, index: int) -> np.ndarray:
    dataset, index = plain_sample(dataset, index)
    results = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        # A cached label has been resized, but counts are those of the file.
        for step in transform.originals() if hasattr(transform, 'originals') else [transform]:
            results = step(results)
            if 'gt_seg_map' in results:
                return results['gt_seg_map']
    raise ValueError(f'{results.get("img_path")}: no transform of this pipeline loads labels, which sampling by class '
                     "needs; add dict(type='LoadIdLabels')")


def counts_from_stats(dataset: Dataset, path: str) -> np.ndarray:
    """The counts from the JSON of the class-statistics tool, whose classes are matched by name."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no class statistics; count them with `mmseg-camix stats '
                                f'FAMILY {Path(path).parent}` (gta, synthia, ...), which writes {STATS_FILE}, '
                                'or leave `stats` out to count when training starts')
    columns, files = _read_stats(path)
    classes = dataset.metainfo['classes']
    if unknown := [name for name in classes if name not in columns]:
        raise ValueError(f'{path}: classes {unknown} of the dataset were not counted; leave `stats` out to count them')
    # Files of train ids are counted as the raw labels from which they were made.
    suffixes = (dataset.seg_map_suffix, getattr(dataset, 'LABEL_SUFFIX', '.png'), '.png')
    counts = np.zeros((len(dataset), len(classes)), np.int64)
    for index, row in enumerate(counts):
        label = dataset.get_data_info(index)['seg_map_path']
        stem = Path(os.path.relpath(label, dataset.data_root)).as_posix().removesuffix(dataset.seg_map_suffix)
        suffix = next((suffix for suffix in suffixes if stem + suffix in files), None)
        if suffix is None:
            raise ValueError(f'{label}: not in {path}; count again with the same `--ann-file` as the dataset has')
        pixels, size = files[stem + suffix]
        # Not its time of change, which a copy of the data set may have lost.
        if suffix == dataset.seg_map_suffix and size is not None and os.path.getsize(label) != size:
            raise ValueError(f'{label}: has changed since {path} was counted; count again')
        row += [pixels[columns[name]] for name in classes]
    return counts


def _read_stats(path: str) -> tuple[dict[str, int], dict[str, tuple[list[int], int | None]]]:
    """Class name -> column, and label file -> pixels of each column and size in bytes, if recorded."""
    try:
        stats = json.loads(Path(path).read_text())
        return ({name: column for column, name in enumerate(stats['classes'])},
                {file: (entry['pixels'], entry.get('stamp', [None])[0]) for file, entry in stats['files'].items()})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not class statistics as mmseg-camix stats writes them ({error!r}); `stats` must '
                         f'name a file {STATS_FILE}') from error
