"""The spatial prior of a source, counted once and again only where its labels change."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from mmseg.registry import TRANSFORMS

from mmseg_camix.datasets.base import RawSegDataset
from mmseg_camix.datasets.fixed_part import run_transforms
from mmseg_camix.datasets.image_files import png_header, read_bytes
from mmseg_camix.files import write_output
from mmseg_camix.spatial_prior import SpatialPrior, load_spatial_prior
from mmseg_camix.type_names import loads_label, type_name

from .prior_counting import count_labels
from .state import Stamp, stamp

STRIDE = 4
PARTIAL_FILE, RECORD_FILE = 'prior.npz', 'prior.json'
UNFINISHED = 'unfinished'  # instead of the file's stamp, while it is written


class LabelReader:
    """Sample description -> its label, (H, W) uint8 train ids, by `LoadIdLabels` unless transforms are given."""

    def __init__(self, transforms: list[dict]) -> None:
        self.transforms = [TRANSFORMS.build(t) for t in transforms or [dict(type='LoadIdLabels')]]

    def __call__(self, info: dict) -> np.ndarray:
        return run_transforms(self.transforms, dict(info, seg_fields=[]))['gt_seg_map']


def default_path(root: str | os.PathLike) -> Path:
    """data/gta -> data/priors/gta.npz, where the configs look for it."""
    folder = Path(os.path.abspath(root))
    return folder.parent / 'priors' / f'{folder.name}.npz'


def build_prior(dataset: RawSegDataset, pipeline: list[dict], size: tuple[int, int], path: Path, folder: Path,
                jobs: int) -> tuple[SpatialPrior, str]:
    """Count the labels of a dataset, unless the file was counted from exactly these.

    Args:
        dataset: labelled; lists the labels.
        pipeline: its fixed part; its Resize to a fixed size determines the size of the labels.
        size: (width, height) otherwise, unless the labels are smaller.
        folder: of intermediate counts.

    Returns:
        The prior, and 'counted', 'current', or 'foreign': a file that was not made here is not overwritten.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    width, height = _size(pipeline, size, infos[0]['seg_map_path'])
    loaders = [t for t in pipeline if loads_label(t)]
    classes = dataset.metainfo['classes']
    labels = [[info['seg_map_path'], stamp(info['seg_map_path'])] for info in infos]
    facts = [labels, loaders, repr(infos[0]['label_ids']), repr(infos[0]['label_map']), classes, width, height, STRIDE]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    if path.is_file():
        record = _read_record(folder / RECORD_FILE, path)
        if record.get('stamp') not in (stamp(path), UNFINISHED):
            return load_spatial_prior(str(path)), 'foreign'
        if record == dict(key=key, path=str(path), stamp=stamp(path)):
            return load_spatial_prior(str(path)), 'current'
    prior = count_labels(infos, LabelReader(loaders), classes, (height, width), STRIDE, jobs,
                         partial_file=folder / PARTIAL_FILE, key=key)
    _write_record(folder / RECORD_FILE, key, path, UNFINISHED)  # a run after a kill knows that the file is ours
    prior.save(str(path))
    _write_record(folder / RECORD_FILE, key, path, stamp(path))
    (folder / PARTIAL_FILE).unlink(missing_ok=True)
    return prior, 'counted'


def _write_record(record: Path, key: str, path: Path, state: Stamp | str) -> None:
    write_output(record, json.dumps(dict(key=key, path=str(path), stamp=state)), clean=True)


def _read_record(record: Path, path: Path) -> dict:
    """What the last run has recorded of the prior at this path."""
    try:
        content = json.loads(record.read_text())
        return content if content['path'] == str(path) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _size(pipeline: list[dict], size: tuple[int, int], label: str) -> tuple[int, int]:
    fixed = resize_scale(pipeline)
    if fixed:
        return fixed
    file_size = png_header(read_bytes(label), label)[:2]
    return size if file_size[0] >= size[0] else file_size


def resize_scale(pipeline: list[dict]) -> tuple[int, int] | None:
    """(width, height) to which a pipeline resizes every image, if it does."""
    for transform in pipeline:
        if type_name(transform) == 'Resize' and transform.get('scale') and not transform.get('keep_ratio'):
            return tuple(transform['scale'])
    return None
