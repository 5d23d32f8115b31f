"""Read every pair of image and label of a download once: whether it is intact, and which classes it has."""

import json
import os
import zlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmseg_camix.datasets.defects import Defect
from mmseg_camix.datasets.encodings import get_encoding
from mmseg_camix.datasets.image_files import (
    PNG_SIGNATURE,
    UnknownIdsError,
    decode,
    png_header,
    read_bytes,
    read_train_ids,
)
from mmseg_camix.datasets.scanning import Scan, scan
from mmseg_camix.files import write_output

from .class_stats import count_classes
from .layouts import Layout, Subset
from .state import Stamp, list_files, stamp

LEDGER = 'scan.json'


@dataclass(frozen=True)
class Pair:
    """An image and its label, one of which may be missing."""

    part: str  # name of the part of the download
    image: str | None  # path below the data root, or None
    label: str | None  # the same
    counted: bool  # whether its classes are counted for the statistics
    stamps: tuple[Stamp | None, Stamp | None]  # of the files that exist

    def __str__(self) -> str:
        return self.image or self.label or ''


def list_pairs(root: Path, layout: Layout) -> dict[str, list[Pair]]:
    """The pairs of each part, sorted, including those with a missing file."""
    return {part.name: _pairs_of(root, layout, part) for part in layout.parts}


def _pairs_of(root: Path, layout: Layout, part: Subset) -> list[Pair]:
    def by_stem(folder: str, suffix: str) -> dict[str, tuple[str, Stamp]]:
        files = list_files(root, folder, suffix, layout.train_id_suffix)
        return {path.removeprefix(folder + '/').removesuffix(suffix): (path, stamp) for path, stamp in files.items()}

    images = by_stem(part.images, layout.image_suffix)
    labels = by_stem(part.labels, layout.label_suffix) if part.labels else {}
    pairs = []
    for stem in sorted(images.keys() | labels.keys()):
        (image, image_stamp), (label, label_stamp) = images.get(stem, (None, None)), labels.get(stem, (None, None))
        pairs.append(Pair(part.name, image, label, part.counted, (image_stamp, label_stamp)))
    return pairs


def scan_pairs(root: Path, pairs: list[Pair], ids: str, labelled: Container[str], folder: Path, jobs: int,
               title: str) -> Scan:
    """Read the pairs that are new or have changed since the last run.

    An entry holds the pair's `stamps`, its `defect` ([kind, detail] or None), and `pixels` and `ignored` as in the
    class statistics (None without an intact label).

    Args:
        ids: encoding of the labels.
        labelled: the parts whose images must have labels.
        folder: of the ledger, which is saved during the scan.
    """
    result = scan(partial(_read_pair, root=root, ids=ids), {str(pair): pair for pair in pairs},
                  _read_ledger(folder / LEDGER, ids), lambda pair, entry: entry.get('stamps') == list(pair.stamps),
                  partial(_write_ledger, folder / LEDGER, ids), jobs, title)
    for pair in pairs:  # whether a label is missing depends on the run's options, so it is not in the ledger
        if pair.image and not pair.label and pair.part in labelled and str(pair) in result.entries:
            result.entries[str(pair)] = dict(result.entries[str(pair)],
                                             defect=['no_label', 'there is no label of this image'])
    return result


def defects_of(pairs: Iterable[Pair], entries: dict[str, dict]) -> tuple[Defect, ...]:
    """The defects of these pairs."""
    known = ((pair, entries[str(pair)]['defect']) for pair in pairs if str(pair) in entries)
    return tuple(Defect(pair.image, pair.label, *defect) for pair, defect in known if defect)


def statistics_of(pairs: Iterable[Pair], entries: dict[str, dict]) -> dict[str, dict]:
    """Entries of the class statistics, by label file."""
    statistics = {}
    for pair in pairs:
        entry = entries.get(str(pair))
        if pair.counted and entry and entry['pixels'] is not None and not entry['defect']:
            statistics[pair.label] = dict(pixels=entry['pixels'], ignored=entry['ignored'], stamp=entry['stamps'][1])
    return statistics


def _read_pair(pair: Pair, root: Path, ids: str) -> dict:
    """The entry of a pair; raises only where the machine is at fault, not the download."""
    image, label = (path and str(root / path) for path in (pair.image, pair.label))
    entry = dict(stamps=list(pair.stamps), defect=None, pixels=None, ignored=None)
    try:
        entry['defect'] = _find_defect(image, label, ids, entry)
    except PermissionError as error:
        raise PermissionError(f'{error.filename or pair}: no permission to read this file; change its permissions '
                              '(chmod), and run the same command again') from error
    if [path and stamp(path) for path in (image, label)] != entry['stamps']:
        raise OSError(f'{pair}: this file or its label is in use: it changed while it was read; wait until it has '
                      'been copied, and run the same command again')
    return entry


def _find_defect(image: str | None, label: str | None, ids: str, entry: dict) -> list[str] | None:
    """[kind, detail] of a pair's defect, or None; writes the counts of an intact label into its entry."""
    if image is None:
        return ['no_image', 'there is no image for this label']
    size = defect = None
    try:
        size = check_image(image)
    except (OSError, ValueError) as error:
        defect = ['image', _detail(error, image)]
    if label is None:
        return defect
    try:
        train_ids = read_train_ids(label, ids)
    except (OSError, ValueError) as error:
        return defect or ['ids' if isinstance(error, UnknownIdsError) else 'label', _detail(error, label)]
    entry.update(count_classes(train_ids, len(get_encoding(ids).classes)))
    if size and size != train_ids.shape[::-1]:
        return ['size', '{}x{} pixels, but its label has {}x{}'.format(*size, *train_ids.shape[::-1])]
    return defect


def _detail(error: Exception, path: str) -> str:
    """What is wrong, without the path and the remedies; errors of the operating system are raised."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return f'{os.path.basename(path)}: ' + str(error).removeprefix(f'{path}: ').split('; ')[0]


def check_image(path: str) -> tuple[int, int]:
    """Width and height of an intact PNG or JPEG; the latter has no checksums, and is decoded."""
    if not path.endswith('.jpg'):
        return check_png(path)
    pixels = decode(read_bytes(path))
    if pixels is None:
        raise OSError(f'{path}: the JPEG is damaged')
    return pixels.shape[1], pixels.shape[0]


def check_png(path: str) -> tuple[int, int]:
    """Width and height of a PNG, all of whose chunks have the right checksum."""
    data = read_bytes(path)
    if not data.startswith(PNG_SIGNATURE):
        raise OSError(f'{path}: not a PNG')
    position, view = len(PNG_SIGNATURE), memoryview(data)
    while position < len(data):
        end = position + 8 + int.from_bytes(view[position:position + 4], 'big')
        checksum = int.from_bytes(view[end:end + 4], 'big')
        if end + 4 > len(data) or zlib.crc32(view[position + 4:end]) != checksum:
            raise OSError(f'{path}: the PNG is damaged (wrong checksum)')
        if view[position + 4:position + 8] == b'IEND':
            break
        position = end + 4
    return png_header(data, path)[:2]


def _read_ledger(path: Path, ids: str) -> dict[str, dict]:
    try:
        content = json.loads(path.read_text())
        return dict(content['entries']) if (content['version'], content['ids']) == (1, ids) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_ledger(path: Path, ids: str, entries: dict[str, dict]) -> None:
    write_output(path, json.dumps(dict(version=1, ids=ids, entries=entries)), clean=True)
