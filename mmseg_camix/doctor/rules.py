"""What the samples of one part say about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .findings import Finding, grouped
from .parts import Part
from .sample import IGNORE, Seen

NEARLY_BLACK, NEARLY_CONSTANT = 8.0, 1.0  # grey levels of 255
STRETCH = 1.25
MODES = {
    'L': ('note', 'grey images, which become three equal channels', 'nothing, if both domains are grey'),
    '1': ('warning', 'black-and-white images', 'check whether these are images and not masks'),
    'P': ('note', 'images with a palette', 'check that these are images and not labels'),
    'RGBA': ('note', 'images with an alpha channel, which is dropped', 'nothing, unless transparent pixels matter'),
    'LA': ('note', 'grey images with an alpha channel, which is dropped', 'nothing, unless transparent pixels matter'),
    'CMYK': ('warning', 'CMYK images, whose colours shift when loaded', 'convert them to RGB once'),
}
SIXTEEN = ('warning', '16-bit images, of which only the upper eight bits are loaded',
           'if they look black, scale them to 8 bits once (divide by their largest value, times 255)')


def examine_part(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """All findings of one part."""
    sound = [one for one in seen if one.error is None]
    return [*pipeline_of(part), *missing_files(part), *broken(part, seen), *formats(part, seen), *sizes(part, sound),
            *labels(part, seen), *pictures(part, seen)]


def pipeline_of(part: Part) -> list[Finding]:
    """What the pipeline should and should not do with labels."""
    if not part.labelled and part.name == 'target':
        return []
    if not part.labelled:
        return [Finding('error', part.name, 'the pipeline loads no labels',
                        "add dict(type='LoadIdLabels'), or LoadAnnotations for mmseg's own datasets")]
    if part.name == 'target':
        return [Finding('note', part.name, 'labels of the target are loaded, but adaptation must not use them',
                        'leave label loading out of the target pipeline; it costs time and invites mistakes')]
    return []


def missing_files(part: Part) -> list[Finding]:
    """Files that the list names and that are not there, of all samples and not only of those opened."""
    keys = ('img_path', 'seg_map_path') if part.labelled else ('img_path',)
    found = []
    size = len(part.dataset)
    infos = [part.dataset.get_data_info(index) for index in range(size)]
    for key in keys:
        paths = [info[key] for info in infos if info.get(key)]
        lost = [path for path in paths if '://' not in path and not os.path.isfile(path)]
        if lost:
            kind = 'images' if key == 'img_path' else 'labels'
            found.append(Finding('error', part.name, f'{kind} are missing', 'unpack or copy them again, check the '
                                 'suffix, or list the others in an `ann_file`', lost, len(paths)))
    return found


def broken(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """Samples that the pipeline cannot load; messages of one kind together."""
    failed = [one for one in seen if one.error is not None and os.path.isfile(one.image)
              and (not one.label or os.path.isfile(one.label))]
    kinds = [(f'{one.error[0]}: {_without_paths(one)}', one.label if 'Label' in one.error[0] else one.image)
             for one in failed]
    found = grouped('error', part.name, kinds, 'training would stop at each of these files', len(seen))
    unpacked = [one.image for one in seen if one.error is None and not {'inputs', 'data_samples'} <= set(one.packed)]
    if unpacked:
        found.append(Finding('error', part.name, 'the pipeline does not pack its samples',
                             "end it with dict(type='PackUDAInputs'), or mmseg's PackSegInputs"))
    return found


def _without_paths(one: Seen) -> str:
    message = one.error[1]
    for path in (one.label, one.image):
        message = message.replace(f'{path}: ', '').replace(path, 'this file') if path else message
    return message


def formats(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """What loading would change in silence: depth, channels, orientation."""
    found = []
    by_mode: dict[str, list[str]] = {}
    for one in seen:
        by_mode.setdefault(one.mode, []).append(one.image)
    for mode, files in by_mode.items():
        level, text, remedy = SIXTEEN if mode.startswith('I') or mode == 'F' else MODES.get(mode, (None, '', ''))
        if level:
            found.append(Finding(level, part.name, text, remedy, files, len(seen)))
    if turned := [one.image for one in seen if one.turned]:
        found.append(Finding('warning', part.name, 'images that their EXIF data turn when they are loaded',
                             'labels are not turned with them; turn the pixels once and remove the EXIF orientation',
                             turned, len(seen)))
    return found


def sizes(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """Labels of another size, and images stretched by the pipeline."""
    found = []
    # Labels that are loaded after the image was resized may have the new size, but not where they are measured with.
    wrong = [one.label for one in seen if one.label_shape and len(one.label_shape) == 2 and one.label_shape
             not in ((one.loaded,) if part.evaluates else (one.loaded, one.resized))]
    if wrong:
        found.append(Finding('error', part.name, 'labels have another size than their images',
                             'each pixel of the image needs a label; make them anew at the size of the image',
                             wrong, len(seen)))
    stretched = [one.image for one in seen if one.loaded and one.resized
                 and _stretch(one.loaded, one.resized) > STRETCH]
    if stretched:
        worst = max(_stretch(one.loaded, one.resized) for one in seen if one.loaded and one.resized)
        found.append(Finding('warning', part.name, f'Resize changes the aspect of images by up to {worst:.2f} times',
                             'give it a scale of about their aspect, or keep_ratio=True', stretched, len(seen)))
    return found


def _stretch(first: tuple[int, int], second: tuple[int, int]) -> float:
    ratio = (first[1] / first[0]) / (second[1] / second[0])
    return max(ratio, 1 / ratio)


def labels(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """Numbers without a class, labels that are pictures, and how much is ignored."""
    found, opened = [], [one for one in seen if one.counts is not None]
    outside = Counter(value for one in opened for value in one.outside)
    if outside:
        files = [one.label for one in opened if one.outside]
        found.append(Finding(
            'error', part.name, f'labels hold {sorted(outside)}, but the {len(part.classes)} classes are numbered 0 to '
            f'{len(part.classes) - 1} (255 is ignored)', "map them: FolderDataset's `classes`, LoadIdLabels(ids=...), "
            'or reduce_zero_label', files, len(seen)))
    if pictures := [one.label for one in seen if one.label_shape and len(one.label_shape) != 2]:
        found.append(Finding('error', part.name, 'labels have several channels: they are pictures, not class numbers',
                             'convert each colour to its class number once (docs/own_data.md)', pictures, len(seen)))
    if void := [one.label for one in opened if one.counts[IGNORE] == one.counts.sum()]:
        found.append(Finding('warning', part.name, 'labels in which every pixel is ignored',
                             'leave them out by an `ann_file`, or check the numbers of the classes', void, len(opened)))
    total = sum((one.counts for one in opened), np.zeros(IGNORE + 1, np.int64))
    if total.sum() and total[IGNORE] > 0.5 * total.sum() and len(void) < len(opened):
        found.append(Finding('warning', part.name, f'{total[IGNORE] / total.sum():.0%} of all pixels are ignored',
                             'check that every number that matters belongs to a class'))
    return found


def pictures(part: Part, seen: Sequence[Seen]) -> list[Finding]:
    """Images on which there is nothing to see."""
    found = []
    dark = [one.image for one in seen if one.mean and max(one.mean) < NEARLY_BLACK]
    if dark:
        found.append(Finding('warning', part.name, f'images whose mean brightness is below {NEARLY_BLACK:.0f} of 255',
                             'look at them; more than eight bits, or an empty camera?', dark, len(seen)))
    flat = [one.image for one in seen if one.std and max(one.std) < NEARLY_CONSTANT and one.image not in dark]
    if flat:
        found.append(Finding('warning', part.name, 'images of one single colour', 'leave them out by an `ann_file`',
                             flat, len(seen)))
    return found
