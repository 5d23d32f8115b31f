"""Look at every pair of image and label once: is it sound, and which classes does it show?"""

import json
import os
import time
import zlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..datasets.defects import Defect
from ..datasets.encodings import CLASSES, IGNORE
from ..datasets.label_files import AGAIN, png_header, read_bytes, read_train_ids
from ..datasets.parallel import run_parallel
from ..datasets.png import SIGNATURE
from ..files import write_output
from .conversion import count_classes
from .layouts import Layout, Part
from .state import Stamp, list_files, stamp

LEDGER = 'scan.json'
SAVE_EVERY = 30.0  # seconds between savings of what is looked at so far


@dataclass(frozen=True)
class Pair:
    """An image and its label, of which one may be missing.

    Args:
        part: name of the part of the download.
        image: path below the data root, or None.
        label: the same.
        counted: whether its classes are counted for the statistics.
        stamps: of both, where there is one.
    """

    part: str
    image: str | None
    label: str | None
    counted: bool
    stamps: tuple[Stamp | None, Stamp | None]

    def __str__(self) -> str:
        return self.image or self.label or ''


def list_pairs(root: Path, layout: Layout) -> dict[str, list[Pair]]:
    """The pairs of each part, sorted; also those of which one half is missing."""
    return {part.name: _pairs_of(root, part, layout.derived_suffix) for part in layout.parts}


def _pairs_of(root: Path, part: Part, derived: str) -> list[Pair]:
    def by_stem(folder: str, suffix: str) -> dict[str, tuple[str, Stamp]]:
        files = list_files(root, folder, suffix, derived)
        return {path.removeprefix(folder + '/').removesuffix(suffix): (path, found) for path, found in files.items()}

    images = by_stem(part.images, part.image_suffix)
    labels = by_stem(part.labels, part.label_suffix) if part.labels else {}
    pairs = []
    for stem in sorted(images.keys() | labels.keys()):
        (image, image_stamp), (label, label_stamp) = images.get(stem, (None, None)), labels.get(stem, (None, None))
        pairs.append(Pair(part.name, image, label, part.counted, (image_stamp, label_stamp)))
    return pairs


@dataclass
class Scan:
    """What is known of every pair.

    Args:
        entries: by the pair's name: `stamps`, `defect` ([kind, detail] or None), `pixels` and `ignored` as in the
            class statistics (None without a sound label).
        problems: messages about files that could not be looked at, by no fault of the download.
        looked_at: how many pairs this run has read.
    """

    entries: dict[str, dict]
    problems: list[str]
    looked_at: int

    def defects(self, pairs: Iterable[Pair]) -> tuple[Defect, ...]:
        """Of these pairs."""
        found = ((pair, self.entries[str(pair)]['defect']) for pair in pairs if str(pair) in self.entries)
        return tuple(Defect(pair.image, pair.label, *defect) for pair, defect in found if defect)

    def statistics(self, pairs: Iterable[Pair]) -> dict[str, dict]:
        """Entries of the class statistics, by label file."""
        result = {}
        for pair in pairs:
            entry = self.entries.get(str(pair))
            if pair.counted and entry and entry['pixels'] is not None and not entry['defect']:
                result[pair.label] = dict(pixels=entry['pixels'], ignored=entry['ignored'], stamp=entry['stamps'][1])
        return result


def scan(root: Path, pairs: list[Pair], ids: str, labelled: Container[str], folder: Path, jobs: int,
         title: str) -> Scan:
    """Look at the pairs that are new or have changed since the last run.

    Args:
        root: of the download.
        pairs: all.
        ids: encoding of the labels.
        labelled: the parts whose images must have labels.
        folder: where the ledger lies; it is saved while this goes on.
        jobs: processes.
        title: of the progress bar.
    """
    known = _read_ledger(folder / LEDGER, ids)
    entries = {str(pair): known[str(pair)] for pair in pairs
               if known.get(str(pair), {}).get('stamps') == list(pair.stamps)}
    todo, problems, saved = [pair for pair in pairs if str(pair) not in entries], [], time.monotonic()
    task = partial(_look_at, root=root, ids=ids)
    try:
        for pair, entry, failure in run_parallel(task, todo, jobs, title):
            if failure is None:
                entries[str(pair)] = entry
            else:
                problems.append(failure)
            if time.monotonic() - saved > SAVE_EVERY:
                _write_ledger(folder / LEDGER, ids, entries)
                saved = time.monotonic()
    finally:  # also after Ctrl-C
        if todo:
            _write_ledger(folder / LEDGER, ids, entries)
    for pair in pairs:  # the same pair may be sound in one run and lack its label in the next
        if pair.image and not pair.label and pair.part in labelled and str(pair) in entries:
            entries[str(pair)] = dict(entries[str(pair)], defect=['no_label', 'there is no label of this image'])
    return Scan(entries, problems, len(todo))


def _look_at(pair: Pair, root: Path, ids: str) -> dict:
    """The entry of a pair; an error only where the machine is to blame."""
    paths = [path and str(root / path) for path in (pair.image, pair.label)]
    entry = dict(stamps=list(pair.stamps), defect=None, pixels=None, ignored=None)
    try:
        entry['defect'] = _judge(pair, *paths, ids, entry)
    except PermissionError as error:
        raise PermissionError(f'{error.filename or pair}: no permission to read this file; change its permissions '
                              '(chmod), and run the same command again') from error
    now = [path and stamp(path) for path in paths]
    if now != entry['stamps']:
        raise OSError(f'{pair}: this file or its label is in use: it changed while it was read; wait until it has '
                      'been copied, and run the same command again')
    return entry


def _judge(pair: Pair, image: str | None, label: str | None, ids: str, entry: dict) -> list[str] | None:
    """What is wrong with a pair; fills the counts of a sound label into its entry."""
    if image is None:
        return ['no_image', 'there is no image for this label']
    size = None
    try:
        size = check_png(image)
    except (OSError, ValueError) as error:
        defect = ['image', _detail(error, image)]
    else:
        defect = None
    if label is None:
        return defect
    try:
        ids_found = read_train_ids(label, ids)
    except (OSError, ValueError) as error:
        kind = 'ids' if 'are not in the map' in str(error) else 'label'
        return defect or [kind, _detail(error, label)]
    counts = count_classes(ids_found).tolist()
    entry.update(pixels=counts[:len(CLASSES)], ignored=counts[IGNORE])
    if size and size != ids_found.shape[::-1]:
        return ['size', '{}x{} pixels, but its label has {}x{}'.format(*size, *ids_found.shape[::-1])]
    return defect


def _detail(error: Exception, path: str) -> str:
    """What is wrong, without the path and the remedies; passes on what the system says."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return f'{os.path.basename(path)}: ' + str(error).removeprefix(f'{path}: ').split('; ')[0]


def check_png(path: str) -> tuple[int, int]:
    """Width and height of a PNG, all of whose parts have the checksum that they say."""
    data = read_bytes(path)
    if not data.startswith(SIGNATURE):
        raise OSError(f'{path}: not a PNG; {AGAIN}')
    width, height = png_header(data, path)[:2]
    at, view = 8, memoryview(data)
    while at < len(data):
        end = at + 8 + int.from_bytes(view[at:at + 4], 'big')
        if end + 4 > len(data) or zlib.crc32(view[at + 4:end]) != int.from_bytes(view[end:end + 4], 'big'):
            raise OSError(f'{path}: the PNG is damaged (wrong checksum); {AGAIN}')
        if view[at + 4:at + 8] == b'IEND':
            break
        at = end + 4
    return width, height


def _read_ledger(path: Path, ids: str) -> dict[str, dict]:
    try:
        content = json.loads(path.read_text())
        return content['entries'] if (content['version'], content['ids']) == (1, ids) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_ledger(path: Path, ids: str, entries: dict[str, dict]) -> None:
    write_output(path, json.dumps(dict(version=1, ids=ids, entries=entries)), clean=True)
