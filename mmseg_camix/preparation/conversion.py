"""Write train-id PNGs from raw labels: parallel, resumable, and never half a file."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..datasets.acdc import ACDCDataset
from ..datasets.cityscapes import RawCityscapesDataset
from ..datasets.dark_zurich import RawDarkZurichDataset
from ..datasets.gta import GTADataset
from ..datasets.label_files import PNG_END, png_header, read_train_ids
from ..datasets.parallel import run_parallel
from ..datasets.synthia import SYNTHIADataset
from ..files import remove_leftovers, write_output


@dataclass(frozen=True)
class Family:
    """Where a family keeps its labels, and where the train-id files go beside them."""

    folder: str
    raw_suffix: str
    train_suffix: str
    ids: str


FAMILIES: dict[str, Family] = {
    'gta': Family('labels', GTADataset.LABEL_SUFFIX, '_labelTrainIds.png', GTADataset.IDS),
    'synthia': Family('GT/LABELS', SYNTHIADataset.LABEL_SUFFIX, '_labelTrainIds.png', SYNTHIADataset.IDS),
    'cityscapes': Family(
        'gtFine',
        RawCityscapesDataset.LABEL_SUFFIX,
        '_gtFine_labelTrainIds.png',
        RawCityscapesDataset.IDS,
    ),
    'acdc': Family('gt', ACDCDataset.LABEL_SUFFIX, '_gt_labelTrainIds.png', ACDCDataset.IDS),
    'dark_zurich': Family('gt', RawDarkZurichDataset.LABEL_SUFFIX, '_gt_labelTrainIds.png', RawDarkZurichDataset.IDS),
}


def find_labels(root: Path, family: Family) -> list[Path]:
    """All raw label files of a download, sorted."""
    folder = root / family.folder
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder}: no such folder; ROOT is the folder that holds {family.folder}/ after '
            'unpacking, or that tools/dataset/make_mini.py has made'
        )
    labels = sorted(
        path for path in folder.rglob('*' + family.raw_suffix) if not path.name.endswith(family.train_suffix)
    )
    if not labels:
        raise FileNotFoundError(f'{folder}: no file ends in {family.raw_suffix!r}; unpack it again')
    return labels


def train_id_path(label: Path, family: Family) -> Path:
    """Where the train ids of a raw label file go."""
    return label.with_name(label.name.removesuffix(family.raw_suffix) + family.train_suffix)


def is_converted(label: Path, output: Path) -> bool:
    """Whether the output is whole, of the label's size, and not older than the label."""
    if not output.is_file() or output.stat().st_mtime < label.stat().st_mtime:
        return False
    try:
        with open(output, 'rb') as file, open(label, 'rb') as raw:
            same_size = png_header(file.read(26), '')[:2] == png_header(raw.read(26), '')[:2]
            file.seek(-len(PNG_END), os.SEEK_END)
            return same_size and file.read() == PNG_END
    except OSError:
        return False


def convert_label(label: Path, family: Family, force: bool = False) -> bool:
    """Write one train-id PNG (8-bit, grey); returns whether there was anything to do."""
    output = train_id_path(label, family)
    if not force and is_converted(label, output):
        return False
    train_ids = read_train_ids(str(label), family.ids)
    write_output(output, cv2.imencode('.png', train_ids)[1].tobytes())
    return True


def convert(name: str, root: Path, jobs: int = 1, force: bool = False) -> tuple[int, int, list[str]]:
    """Convert all labels of a download.

    Args:
        name: key of `FAMILIES`.
        root: the family's folder.
        jobs: processes.
        force: convert also what is there already.

    Returns:
        Number of files written, number skipped, and one message for each file that failed.
    """
    family = FAMILIES[name]
    labels = find_labels(Path(root), family)
    for folder in {label.parent for label in labels}:  # of a run that was killed
        remove_leftovers(folder)
    task = partial(convert_label, family=family, force=force)
    written, failures = 0, []
    for _, done, failure in run_parallel(task, labels, jobs, f'{name} labels'):
        if failure is None:
            written += done
        else:
            failures.append(failure)
    return written, len(labels) - written - len(failures), failures


def count_classes(train_ids: np.ndarray) -> np.ndarray:
    """Pixels of each train id: (256,) int64 from (H, W) uint8."""
    return np.bincount(train_ids.ravel(), minlength=256)
