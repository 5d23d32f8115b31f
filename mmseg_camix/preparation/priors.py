"""The spatial prior of a source, counted so that a kill loses half a minute."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from mmseg.registry import TRANSFORMS

from ..datasets.base import RawSegDataset
from ..datasets.fixed_part import run
from ..datasets.label_files import png_header, read_bytes
from ..files import write_output
from ..spatial_prior import SpatialPrior, load_spatial_prior
from ..type_names import type_name
from .prior_counting import count_labels
from .state import Stamp, stamp

STRIDE = 4
KEPT, DONE = 'prior.npz', 'prior.json'
UNFINISHED = 'unfinished'  # in the place of the file's stamp, while it is written


class LabelReader:
    """The description of a sample -> its label, (H, W) uint8 train ids.

    Args:
        transforms: configs of the transforms that load the label; none means `LoadIdLabels`.
    """

    def __init__(self, transforms: list[dict]) -> None:
        self.transforms = [TRANSFORMS.build(t) for t in transforms or [dict(type='LoadIdLabels')]]

    def __call__(self, info: dict) -> np.ndarray:
        return run(self.transforms, dict(info, seg_fields=[]))['gt_seg_map']


def default_path(root: Path) -> Path:
    """data/gta -> data/priors/gta.npz, where the configs look for it."""
    place = Path(os.path.abspath(root))
    return place.parent / 'priors' / f'{place.name}.npz'


def build_prior(dataset: RawSegDataset, pipeline: list[dict], size: tuple[int, int], path: Path, folder: Path,
                jobs: int) -> tuple[SpatialPrior, str]:
    """Count the labels of a dataset, unless the file is of just these.

    Args:
        dataset: labelled; lists the labels.
        pipeline: the part that loads and resizes; if it resizes to a fixed size, that is the one.
        size: (width, height) otherwise, unless the labels are smaller.
        path: of the prior.
        folder: for what is counted so far.
        jobs: processes.

    Returns:
        The prior, and 'made' now, 'there' already, or 'kept': somebody else's file is not overwritten.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    width, height = _size(pipeline, size, infos[0]['seg_map_path'])
    loads = [t for t in pipeline if type_name(t) in ('LoadIdLabels', 'LoadAnnotations')]
    classes = dataset.metainfo['classes']
    labels = [[info['seg_map_path'], stamp(info['seg_map_path'])] for info in infos]
    facts = [labels, loads, repr(infos[0]['label_ids']), repr(infos[0]['label_map']), classes, width, height, STRIDE]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    record = _read(folder / DONE, path)
    if path.is_file() and record.get('stamp') in (stamp(path), UNFINISHED):
        if record == dict(key=key, path=str(path), stamp=stamp(path)):
            return load_spatial_prior(str(path)), 'there'
    elif path.is_file():
        return load_spatial_prior(str(path)), 'kept'
    prior = count_labels(infos, LabelReader(loads), classes, (height, width), STRIDE, jobs if jobs > 1 else 0,
                         kept=folder / KEPT, key=key)
    _write(folder / DONE, key, path, UNFINISHED)  # so that a run after a kill knows that the file is ours
    prior.save(str(path))
    _write(folder / DONE, key, path, stamp(path))
    (folder / KEPT).unlink(missing_ok=True)
    return prior, 'made'


def _write(record: Path, key: str, path: Path, state: Stamp | str) -> None:
    write_output(record, json.dumps(dict(key=key, path=str(path), stamp=state)), clean=True)


def _read(record: Path, path: Path) -> dict:
    """What the last run has recorded of the prior at this path."""
    try:
        content = json.loads(record.read_text())
        return content if content['path'] == str(path) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _size(pipeline: list[dict], size: tuple[int, int], label: str) -> tuple[int, int]:
    for transform in pipeline:
        if type_name(transform) == 'Resize' and transform.get('scale') and not transform.get('keep_ratio'):
            return tuple(transform['scale'])
    own = png_header(read_bytes(label), label)[:2]
    return size if own[0] >= size[0] else own
