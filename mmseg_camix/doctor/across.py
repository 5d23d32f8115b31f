"""What the parts say together: classes, proportions, colours, frequencies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from .findings import Finding
from .parts import Part
from .rules import STRETCH
from .sample import IGNORE, Seen

RARE = 1e-4  # share of pixels
SHIFT = 10.0  # factor between two domains
Samples = Mapping[str, Sequence[Seen]]


def class_lists(parts: Mapping[str, Part]) -> list[Finding]:
    """The same names in the same order everywhere."""
    source = parts.get('source')
    if source is None or source.classes is None:
        return []
    found = []
    for name, part in parts.items():
        if part.classes is None or part.classes == source.classes:
            continue
        differ = sorted(set(part.classes) ^ set(source.classes))
        text = f'classes differ from those of source: {", ".join(differ)}' if differ else \
            'the classes of source in another order'
        found.append(Finding('error', name, text, 'give every dataset the same classes in the same order '
                                                  '(`classes` of FolderDataset, or `metainfo=dict(classes=...)`)'))
    return found


def aspects(seen: Samples) -> list[Finding]:
    """Whether the domains show things in the same proportions."""
    shapes = {name: [one.resized for one in seen.get(name, ()) if one.resized] for name in ('source', 'target')}
    if not all(shapes.values()):
        return []
    aspect = {name: float(np.median([width / height for height, width in found])) for name, found in shapes.items()}
    factor = max(aspect.values()) / min(aspect.values())
    if factor <= STRETCH:
        return []
    return [Finding('warning', 'config', f'after the pipelines, source images have aspect {aspect["source"]:.2f} and '
                    f'target images {aspect["target"]:.2f}', "what lies where then differs; CAMix's spatial prior "
                    'refuses more than a factor of 1.25: resize both alike, or crop one to the format of the other')]


def colours(seen: Samples) -> list[Finding]:
    """Grey images in one domain and coloured ones in the other."""
    grey = {name: np.mean([one.mode in ('1', 'L', 'LA') for one in samples])
            for name, samples in seen.items() if name in ('source', 'target') and samples}
    if len(grey) == 2 and abs(grey['source'] - grey['target']) > 0.5:
        which = max(grey, key=grey.get)
        return [Finding('warning', 'config', f'the {which} images are grey, those of the other domain are not',
                        'convert the other domain to grey as well; colours that the network learns are lost otherwise')]
    return []


def shares(samples: Sequence[Seen], num_classes: int) -> np.ndarray | None:
    """(C,) share of each class in the labelled pixels; None without labels."""
    counts = [one.counts for one in samples if one.counts is not None]
    total = np.sum(counts, axis=0)[:num_classes] if counts else np.zeros(num_classes)
    return total / total.sum() if total.sum() else None


def overlaps(parts: Mapping[str, Part]) -> list[Finding]:
    """Images that are trained on and measured with."""
    paths = {name: {os.path.abspath(part.dataset.get_data_info(i)['img_path']) for i in range(len(part.dataset))}
             for name, part in parts.items()}
    shared = [(name, other, sorted(paths[name] & paths[other])) for name in ('val', 'test') if name in paths
              for other in ('source', 'target') if other in paths]
    return [Finding('warning', name, f'images are also in {other}',
                    'measure on images that were not trained on, labelled or not', files, len(paths[name]))
            for name, other, files in shared if files]


def frequencies(parts: Mapping[str, Part], seen: Samples, complete: bool) -> list[Finding]:
    """Classes that are missing or rare, and that are frequent in one domain only.

    Args:
        complete: whether every file was opened.
    """
    source = parts.get('source')
    if source is None or source.classes is None:
        return []
    among = '' if complete else ' among the files that were opened'
    first = shares(seen.get('source', ()), len(source.classes))
    measured = next((name for name in ('val', 'test') if name in seen), None)
    second = shares(seen[measured], len(source.classes)) if measured else None
    found = [] if first is None else _learnable(source, first, among)
    if second is not None:
        absent = [name for name, share in zip(source.classes, second) if share == 0]
        if absent:
            found.append(Finding('note', measured, f'no pixel of {", ".join(absent)}{among}', 'means leave such '
                                 'classes out, unless they are predicted somewhere; then they count as 0'))
    if first is not None and second is not None:
        found += _shifted(source.classes, first, second, measured)
    return found


def _learnable(source: Part, share: np.ndarray, among: str) -> list[Finding]:
    present = set((getattr(source.dataset, 'metainfo', None) or {}).get('present_classes') or source.classes)
    found = []
    if absent := [name for name, part in zip(source.classes, share) if part == 0 and name in present]:
        found.append(Finding('warning', 'source', f'no pixel of {", ".join(absent)}{among}',
                             'the network cannot learn these; check their numbers, or leave them out of `classes`'))
    if rare := [name for name, part in zip(source.classes, share) if 0 < part < RARE]:
        found.append(Finding('note', 'source', f'less than {RARE:.2%} of the pixels: {", ".join(rare)}',
                             "dict(type='RareClassDataset', dataset=...) around the source shows them more often"))
    return found


def _shifted(names: Sequence[str], first: np.ndarray, second: np.ndarray, measured: str) -> list[Finding]:
    far = [f'{name} ({a:.2%} and {b:.2%})' for name, a, b in zip(names, first, second)
           if min(a, b) > 0 and max(a, b) > SHIFT * min(a, b)]
    return [Finding('note', 'config', f'shares of pixels in source and {measured} differ more than tenfold: '
                    f'{", ".join(far)}', 'expect these classes to suffer; check that their names mean the same in both'
                    )] if far else []


def ignored(samples: Sequence[Seen]) -> float | None:
    """Share of ignored pixels; None without labels."""
    total = sum((one.counts for one in samples if one.counts is not None), np.zeros(IGNORE + 1, np.int64))
    return float(total[IGNORE] / total.sum()) if total.sum() else None
