"""How many pixels of each class each label file has, for rare-class sampling and long-tail pasting.

`sample_class_stats.json`::

    {"classes": ["road", ...],             # index = train id
     "files": {"labels/00001.png": {       # relative to the root, sorted
         "pixels": [n_0, ..., n_18],       # pixels of each train id
         "ignored": n,                     # pixels of label 255
         "stamp": [bytes, mtime_ns]}},     # of the file when counted; if it changes, count again
     "total_pixels": [n_0, ..., n_18],     # sums over the files
     "total_files": [m_0, ..., m_18],      # in how many files the class occurs
     "complete": true}                     # false while counting, or where files could not be read

`samples_with_class.json`::

    {"road": [["labels/00001.png", n], ...], ...}   # files that have the class, most pixels first
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_camix.datasets.class_counts import STATS_FILE
from mmseg_camix.datasets.encodings import CLASSES, IGNORE
from mmseg_camix.datasets.image_files import read_train_ids
from mmseg_camix.datasets.scanning import scan
from mmseg_camix.files import write_output

from .layouts import LAYOUTS, Layout
from .state import stamp

INDEX_FILE = 'samples_with_class.json'


def collect(family: str, root: Path, out_dir: Path | None = None, split: str = '', ann_file: str = '', jobs: int = 1,
            force: bool = False) -> tuple[dict, list[str]]:
    """Count all label files of a download and write both JSON files.

    Args:
        out_dir: folder of the JSON files; None means `root`.
        split: count only labels below this subfolder of the label folder, for example 'train'.
        ann_file: count only the names in this list, the same that the reader is given.
        force: also count what has been counted.

    Returns:
        The statistics, and one message for each file that could not be read.
    """
    root, layout = Path(root), LAYOUTS[family]
    folder = Path(out_dir or root)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {path.relative_to(root).as_posix(): path for path in _select(root, layout, split, ann_file)}
    counted = scan(partial(count_file, ids=layout.reader.IDS), paths, {} if force else _known(folder / STATS_FILE),
                   lambda path, entry: entry['stamp'] == stamp(path),
                   lambda entries: _write(folder / STATS_FILE, _summary(entries, complete=False)),
                   jobs, f'{family} statistics')
    return write_statistics(folder, counted.entries, complete=not counted.failures)[0], counted.failures


def count_file(path: Path, ids: str) -> dict:
    """Entry of one label file."""
    return dict(**count_classes(read_train_ids(str(path), ids)), stamp=stamp(path))


def count_classes(train_ids: np.ndarray, num_classes: int = len(CLASSES)) -> dict:
    """Pixels of each class, and ignored ones, of a label (H, W) uint8."""
    counts = np.bincount(train_ids.ravel(), minlength=256).tolist()
    return dict(pixels=counts[:num_classes], ignored=counts[IGNORE])


def write_statistics(folder: Path, files: dict[str, dict], complete: bool,
                     classes: Sequence[str] = CLASSES) -> tuple[dict, bool]:
    """Write both JSON files, unless they exist with this content; return the statistics and whether a file was written.

    `files` are the entries of the first JSON file; `complete` is whether these are all.
    """
    stats = _summary(files, complete, classes)
    contents = {STATS_FILE: stats, INDEX_FILE: index_by_class(stats)}
    return stats, any([_write(folder / name, content) for name, content in contents.items()])


def index_by_class(stats: dict) -> dict[str, list]:
    """Class name -> [file, pixels] of the files that have it, most pixels first."""
    index = {}
    for train_id, class_name in enumerate(stats['classes']):
        counts = [[file, entry['pixels'][train_id]] for file, entry in stats['files'].items()]
        index[class_name] = sorted((pair for pair in counts if pair[1]), key=lambda pair: (-pair[1], pair[0]))
    return index


def _select(root: Path, layout: Layout, split: str, ann_file: str) -> list[Path]:
    """The label files of a split and a list."""
    folder = root / layout.label_folder
    paths = [path for path in layout.find_labels(root) if path.is_relative_to(folder / split)]
    if not paths:
        raise FileNotFoundError(f'{folder / split}: no label file; check the split')
    if not ann_file:
        return paths
    if not (root / ann_file).is_file():
        raise FileNotFoundError(f'{root / ann_file}: no such list; it holds one name per line, without suffix')
    names = set((root / ann_file).read_text().split())
    known = {path.relative_to(folder).as_posix().removesuffix(layout.label_suffix): path for path in paths}
    if missing := sorted(names - known.keys()):
        raise FileNotFoundError(f'{folder / missing[0]}{layout.label_suffix}: no label for this line of {ann_file}')
    return [known[name] for name in sorted(names)]


def _known(path: Path) -> dict[str, dict]:
    """What an earlier run counted, if it was about the same classes."""
    try:
        stats = json.loads(path.read_text())
        return dict(stats['files']) if stats['classes'] == list(CLASSES) else {}
    except (OSError, ValueError, KeyError, TypeError):  # not a file of this tool: count everything again
        return {}


def _summary(files: dict[str, dict], complete: bool, classes: Sequence[str] = CLASSES) -> dict:
    pixels = np.array([entry['pixels'] for entry in files.values()], np.int64).reshape(-1, len(classes))
    return dict(classes=list(classes), files=dict(sorted(files.items())), total_pixels=pixels.sum(0).tolist(),
                total_files=(pixels > 0).sum(0).tolist(), complete=complete)


def _write(path: Path, content: dict) -> bool:
    text = json.dumps(content)
    if path.is_file() and path.read_text() == text:
        return False
    write_output(path, text, clean=True)
    return True
