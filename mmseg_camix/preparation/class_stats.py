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
import time
from functools import partial
from pathlib import Path

from ..datasets.encodings import CLASSES, IGNORE
from ..datasets.label_files import read_train_ids
from ..datasets.long_tail import STATS_FILE
from ..datasets.parallel import run_parallel
from ..files import write_output
from .conversion import FAMILIES, Family, count_classes, find_labels

INDEX_FILE = 'samples_with_class.json'
SAVE_EVERY = 30.0  # seconds between savings of what is counted so far


def collect(
    name: str,
    root: Path,
    out_dir: Path | None = None,
    split: str = '',
    ann_file: str = '',
    jobs: int = 1,
    force: bool = False,
) -> tuple[dict, list[str]]:
    """Count all label files of a download and write both JSON files.

    Args:
        name: family: 'gta', 'synthia' or 'cityscapes'.
        root: its folder.
        out_dir: where the JSON files go; None means `root`.
        split: count only labels below this subfolder of the label folder, for example 'train'.
        ann_file: count only the names in this list, the same that the reader is given.
        jobs: processes.
        force: count again what is counted already.

    Returns:
        The statistics, and one message for each file that could not be read.
    """
    root, family = Path(root), FAMILIES[name]
    paths = {path.relative_to(root).as_posix(): path for path in _select(root, family, split, ann_file)}
    folder = Path(out_dir or root)
    folder.mkdir(parents=True, exist_ok=True)
    known = {} if force else _known(folder / STATS_FILE)
    files = {key: known[key] for key, path in paths.items() if _is_current(known.get(key), path)}
    todo = [path for key, path in paths.items() if key not in files]

    failures, saved = [], time.monotonic()
    task = partial(_count, ids=family.ids)
    for path, entry, failure in run_parallel(task, todo, jobs, f'{name} statistics'):
        if failure is None:
            files[path.relative_to(root).as_posix()] = entry
        else:
            failures.append(failure)
        if time.monotonic() - saved > SAVE_EVERY:
            _write(folder / STATS_FILE, _summary(files, complete=False))
            saved = time.monotonic()
    return write_statistics(folder, files, complete=not failures)[0], failures


def write_statistics(folder: Path, files: dict[str, dict], complete: bool) -> tuple[dict, bool]:
    """Write both JSON files, unless they are there with this content.

    Args:
        folder: where to.
        files: the entries `files` of the first.
        complete: whether these are all.

    Returns:
        The statistics, and whether anything was written.
    """
    stats = _summary(files, complete)
    contents = {STATS_FILE: stats, INDEX_FILE: index_by_class(stats)}
    return stats, any([_write(folder / name, content) for name, content in contents.items()])


def index_by_class(stats: dict) -> dict[str, list]:
    """Class name -> [file, pixels] of the files that have it, most pixels first."""
    index = {}
    for train_id, class_name in enumerate(stats['classes']):
        counts = [(file, entry['pixels'][train_id]) for file, entry in stats['files'].items()]
        present = [[file, count] for file, count in counts if count]
        index[class_name] = sorted(present, key=lambda item: (-item[1], item[0]))
    return index


def _select(root: Path, family: Family, split: str, ann_file: str) -> list[Path]:
    """The label files of a split and a list."""
    folder = root / family.folder
    paths = [path for path in find_labels(root, family) if path.is_relative_to(folder / split)]
    if not paths:
        raise FileNotFoundError(f'{folder / split}: no label file; check the split')
    if not ann_file:
        return paths
    if not (root / ann_file).is_file():
        raise FileNotFoundError(f'{root / ann_file}: no such list; it holds one name per line, without suffix')
    names = set((root / ann_file).read_text().split())
    known = {path.relative_to(folder).as_posix().removesuffix(family.raw_suffix): path for path in paths}
    if missing := sorted(names - known.keys()):
        raise FileNotFoundError(f'{folder / missing[0]}{family.raw_suffix}: no label for this line of {ann_file}')
    return [known[name] for name in sorted(names)]


def _count(path: Path, ids: str) -> dict:
    counts = count_classes(read_train_ids(str(path), ids)).tolist()
    return dict(pixels=counts[: len(CLASSES)], ignored=counts[IGNORE], stamp=_stamp(path))


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _is_current(entry: dict | None, path: Path) -> bool:
    return entry is not None and entry['stamp'] == _stamp(path)


def _known(path: Path) -> dict[str, dict]:
    """What an earlier run counted, if it was about the same classes."""
    if not path.is_file():
        return {}
    try:
        stats = json.loads(path.read_text())
        return stats['files'] if stats['classes'] == list(CLASSES) else {}
    except (ValueError, KeyError, TypeError):  # not ours: count everything again
        return {}


def _summary(files: dict[str, dict], complete: bool) -> dict:
    rows = [entry['pixels'] for entry in files.values()]
    columns = list(zip(*rows)) or [()] * len(CLASSES)
    return dict(
        classes=list(CLASSES),
        files=dict(sorted(files.items())),
        total_pixels=[sum(column) for column in columns],
        total_files=[sum(count > 0 for count in column) for column in columns],
        complete=complete,
    )


def _write(path: Path, content: dict) -> bool:
    text = json.dumps(content)
    if path.is_file() and path.read_text() == text:
        return False
    write_output(path, text, clean=True)
    return True
