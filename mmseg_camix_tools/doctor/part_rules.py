"""Findings about one part, from its samples."""

import os
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from mmseg_camix.datasets.encodings import IGNORE
from mmseg_camix.spatial_prior import MAX_STRETCH, stretch

from .findings import Finding, group_messages
from .parts import Part, missing_files
from .sample import Sample

NEARLY_BLACK, NEARLY_CONSTANT = 8.0, 1.0  # grey levels of 255
MAX_REPLACED = 0.1  # share of the samples
MODES = {
    'L': ('note', 'grey images, which become three equal channels', 'nothing, if both domains are grey'),
    '1': ('warning', 'black-and-white images', 'check whether these are images and not masks'),
    'P': ('note', 'images with a palette', 'check that these are images and not labels'),
    'RGBA': ('note', 'images with an alpha channel, which is dropped', 'nothing, unless transparent pixels matter'),
    'LA': ('note', 'grey images with an alpha channel, which is dropped', 'nothing, unless transparent pixels matter'),
    'CMYK': ('warning', 'CMYK images, whose colours shift when loaded', 'convert them to RGB'),
}
SIXTEEN_BITS = ('warning', '16-bit images, of which only the upper eight bits are loaded',
                'if they look black, scale them to 8 bits (divide by their largest value, times 255)')


def check_part(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """All findings about one part."""
    return [*_pipeline(part), *_missing(part), *_errors(part, samples), *_formats(part, samples),
            *_sizes(part, samples), *_labels(part, samples), *_images(part, samples)]


def _pipeline(part: Part) -> list[Finding]:
    if part.labelled and part.name == 'target':
        return [Finding('note', part.name, 'labels of the target are loaded, but adaptation must not use them',
                        'remove label loading from the target pipeline')]
    if not part.labelled and part.needs_labels:
        return [Finding('error', part.name, 'the pipeline loads no labels',
                        "add dict(type='LoadIdLabels'), or LoadAnnotations for mmseg's own datasets")]
    return []


def _missing(part: Part) -> list[Finding]:
    """Listed files that do not exist, of all samples and not only of those opened."""
    infos, findings = part.infos(), []
    for kind, key in (('image', 'img_path'), *([('label', 'seg_map_path')] if part.labelled else [])):
        paths = [info[key] for info in infos if info.get(key)]
        missing = [path for path in paths if '://' not in path and not os.path.isfile(path)]
        if missing:
            findings.append(missing_files(part.name, kind, missing, len(paths)))
    return findings


def _errors(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """Samples that the pipeline cannot load, grouped by message."""
    failed = [sample for sample in samples if sample.error is not None and os.path.isfile(sample.image)
              and (not sample.label or os.path.isfile(sample.label))]
    few = sum(sample.unreadable for sample in failed) <= MAX_REPLACED * len(samples)
    replaced = part.replaces_unreadable and few
    findings = []
    for level, group, remedy in (
            ('warning', [sample for sample in failed if sample.unreadable and replaced],
             'other samples replace them in the training; restore or remove them'),
            ('error', [sample for sample in failed if not (sample.unreadable and replaced)],
             f'{"too many to be replaced" if part.replaces_unreadable and not few else "training would stop at each"}; '
             'restore or remove them')):
        messages = [(f'{sample.error[0]}: {_without_paths(sample)}',
                     sample.label if 'Label' in sample.error[0] else sample.image) for sample in group]
        findings += group_messages(level, part.name, messages, remedy, len(samples))
    if any(sample.error is None and not {'inputs', 'data_samples'} <= set(sample.packed) for sample in samples):
        findings.append(Finding('error', part.name, 'the pipeline does not pack its samples',
                                "end it with dict(type='PackUDAInputs'), or mmseg's PackSegInputs"))
    return findings


def _without_paths(sample: Sample) -> str:
    message = sample.error[1]
    for path in filter(None, (sample.label, sample.image)):
        message = message.replace(f'{path}: ', '').replace(path, 'this file')
    return message


def _formats(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """What loading changes without a message: depth, channels, orientation."""
    files_by_mode: dict[str, list[str]] = {}
    for sample in samples:
        files_by_mode.setdefault(sample.mode, []).append(sample.image)
    findings = []
    for mode, files in files_by_mode.items():
        finding = SIXTEEN_BITS if mode.startswith('I') or mode == 'F' else MODES.get(mode)
        if finding:
            level, text, remedy = finding
            findings.append(Finding(level, part.name, text, remedy, files, len(samples)))
    return findings + _select(part, samples, lambda sample: sample.rotated, 'warning',
                              'images that their EXIF data rotate when they are loaded', 'labels are not rotated with '
                              'them; rotate the pixels and remove the EXIF orientation')


def _select(part: Part, samples: Sequence[Sample], is_faulty: Callable[[Sample], bool], level: str, text: str,
            remedy: str, labels: bool = False) -> list[Finding]:
    """A finding about the samples with a property, if there are any."""
    files = [sample.label if labels else sample.image for sample in samples if is_faulty(sample)]
    return [Finding(level, part.name, text, remedy, files, len(samples))] if files else []


def _sizes(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """Labels of another size, and images stretched by the pipeline."""
    loaded = [sample for sample in samples if sample.error is None]

    def differs(sample: Sample) -> bool:
        # Training crops both alike; evaluation compares at the size of the file.
        size, expected = ((sample.label_shape, sample.loaded) if part.evaluates else
                          (sample.label_resized, sample.resized))
        return size is not None and len(sample.label_shape) == 2 and size != expected

    worst = max((_stretch(sample) for sample in loaded), default=1)
    return [
        *_select(part, loaded, differs, 'error', 'labels have another size than their images',
                 'each pixel of the image needs a label: create labels of the size of the image, and load them before '
                 'the image is resized', labels=True),
        *_select(part, loaded, lambda sample: _stretch(sample) > MAX_STRETCH, 'warning',
                 f'Resize changes the aspect of images by up to {worst:.2f} times',
                 'choose a scale of about their aspect, or keep_ratio=True')]


def _stretch(sample: Sample) -> float:
    if not sample.loaded or not sample.resized:
        return 1
    return stretch(sample.resized, sample.loaded[1] / sample.loaded[0])


def _labels(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """Numbers without a class, labels that are pictures, and the share of ignored pixels."""
    findings, counted = [], [sample for sample in samples if sample.counts is not None]
    outside = Counter(value for sample in counted for value in sample.outside)
    if outside:
        findings += _select(
            part, counted, lambda sample: bool(sample.outside), 'error', f'labels hold {sorted(outside)}, but the '
            f'{len(part.classes)} classes are numbered 0 to {len(part.classes) - 1} (255 is ignored)',
            "map them: `classes` of FolderDataset, LoadIdLabels(ids=...), or reduce_zero_label", labels=True)
    findings += _select(part, samples, lambda sample: len(sample.label_shape or (0, 0)) != 2, 'error',
                        'labels have several channels: they are pictures, not class numbers',
                        'convert each colour to its class number (docs/own_data.md)', labels=True)
    def is_void(sample: Sample) -> bool:
        return sample.counts[IGNORE] == sample.counts.sum()
    void = _select(part, counted, is_void, 'error' if all(map(is_void, counted)) else 'warning',
                   'labels in which every pixel is ignored',
                   'leave them out by an `ann_file`, or check the numbers of the classes', labels=True)
    share = ignored_share(counted)
    if share is not None and share > 0.5 and not (void and len(void[0].files) == len(counted)):
        void.append(Finding('warning', part.name, f'{share:.0%} of all pixels are ignored',
                            'check that every relevant number belongs to a class'))
    return findings + void


def ignored_share(samples: Sequence[Sample]) -> float | None:
    """Share of ignored pixels; None without labels."""
    total = sum((sample.counts for sample in samples if sample.counts is not None), np.zeros(IGNORE + 1, np.int64))
    return float(total[IGNORE] / total.sum()) if total.sum() else None


def _images(part: Part, samples: Sequence[Sample]) -> list[Finding]:
    """Images without content."""
    def is_dark(sample: Sample) -> bool:
        return bool(sample.mean) and max(sample.mean) < NEARLY_BLACK

    return [
        *_select(part, samples, is_dark, 'warning', f'images whose mean brightness is below {NEARLY_BLACK:.0f} of 255',
                 'inspect them; they may have more than eight bits, or be empty'),
        *_select(part, samples, lambda s: bool(s.std) and max(s.std) < NEARLY_CONSTANT and not is_dark(s), 'warning',
                 'images of one single colour', 'leave them out by an `ann_file`')]
