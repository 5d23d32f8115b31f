"""Findings about the config and about several parts together."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_camix.models.uda.wrapper import BRANCHES
from mmseg_camix.ops.context import relation_matrix
from mmseg_camix.spatial_prior import MAX_STRETCH, load_spatial_prior, stretch
from mmseg_camix.type_names import type_name
from mmseg_camix.weights import WeightsError
from mmseg_camix.weights.initialiser import PACKAGE, find_in_package
from mmseg_camix.weights.sources import remedy as weights_remedy

from .findings import Finding
from .parts import Part
from .sample import Sample

IMAGENET_RGB, CAFFE_BGR = (123.675, 116.28, 103.53), (104.0, 116.67, 122.68)
MANY_LABELS = 2000
PRETRAINED = ('Pretrained', 'PretrainedBackbone')  # types of an init_cfg that names a file
DEFAULT_GROUPS = ('I', 'II')  # of ContextMask
MIN_COVERED = 0.5  # share of a crop that an image must fill
RARE_SHARE = 1e-4  # of the pixels
MAX_SHIFT = 10.0  # factor between the shares of a class in two domains
Parts = Mapping[str, Part]
Samples = Mapping[str, Sequence[Sample]]


def check_config(cfg: Config, parts: Parts, samples: Samples, complete: bool) -> list[Finding]:
    """All findings about the config and the built parts; `complete` is whether every file was opened."""
    classes = next((part.classes for part in parts.values() if part.classes), None)
    return [*_class_lists(parts), *_heads(cfg, classes), *_weights(cfg), *_without_source(cfg, parts),
            *_loop(cfg, parts), *_sampling(cfg, parts), *_normalisation(cfg), *_crops(cfg, parts, samples),
            *_groups(cfg, classes), *_prior(cfg, parts, samples), *_aspects(samples),
            *_colours(samples), *_overlaps(parts), *_frequencies(parts, samples, complete)]


def _segmentor(cfg: Config) -> dict:
    """Config of the segmentor, adapted or plain."""
    model = cfg.get('model') or {}
    return model.get('segmentor') or model


def _heads(cfg: Config, classes: Sequence[str] | None) -> Iterator[Finding]:
    for name in ('decode_head', 'auxiliary_head'):
        heads = _segmentor(cfg).get(name) or []
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            outputs = head.get('num_classes')
            if classes is not None and outputs is not None and outputs != len(classes):
                yield Finding('error', 'config', f'{name} has num_classes={outputs}, but the data have {len(classes)} '
                              'classes', f'set num_classes={len(classes)} in {name}')


def _weights(cfg: Config) -> Iterator[Finding]:
    """Files of weights that do not exist."""
    places = [('load_from', cfg.get('load_from')), *_checkpoints(cfg.get('model') or {}, 'model')]
    for place, path in places:
        if isinstance(path, str) and path.startswith(PACKAGE):
            try:
                find_in_package(path.removeprefix(PACKAGE))
            except WeightsError as error:
                yield Finding('error', 'config', place, str(error))
        elif isinstance(path, str) and path and '://' not in path and not os.path.isfile(path):
            yield Finding('error', 'config', f'{place}: there is no file {path}',
                          f'{weights_remedy(path)}; or set {place}=None')


def _without_source(cfg: Config, parts: Parts) -> Iterator[Finding]:
    """Without labelled data a training needs a method without source, and a trained network to begin with."""
    data = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if not data.get('target') or data.get('source'):
        return
    model = cfg.get('model') or {}
    method = MODELS.get(model.get('type', ''))
    if 'source' in (model.get('branches') or getattr(method, 'defaults', {}).get('branches', BRANCHES)):
        yield Finding('error', 'config', f'{model.get("type")} needs a source, but train_dataloader.dataset has none',
                      "add source=dict(...), or choose a method without source: type='SourceFree'")
    if not cfg.get('load_from') and not any(part.labelled for part in parts.values() if not part.evaluates):
        yield Finding('error', 'config', 'no training data have labels, and load_from names no trained network',
                      "load_from='CHECKPOINT', trained on the source")


def _checkpoints(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, path) of all pretrained weights within a model's config."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        if key == 'pretrained' or (key == 'checkpoint' and 'type' in node and type_name(node) in PRETRAINED):
            yield f'{place}.{key}', value
        else:
            yield from _checkpoints(value, f'{place}.{key}')


def _loop(cfg: Config, parts: Parts) -> Iterator[Finding]:
    loop = cfg.get('train_cfg') or {}
    epochs = loop.get('by_epoch') or 'Epoch' in str(loop.get('type', ''))
    if 'target' in parts and epochs:
        yield Finding('error', 'config', 'train_cfg counts epochs, but pairs of source and target have no epochs',
                      "train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)")


def _normalisation(cfg: Config) -> list[Finding]:
    """Mean and order of channels that do not match each other, or images of 0 to 255."""
    preprocessor = _segmentor(cfg).get('data_preprocessor') or {}
    mean, std, rgb = preprocessor.get('mean'), preprocessor.get('std'), preprocessor.get('bgr_to_rgb', False)
    if mean is None:
        return [Finding('warning', 'config', 'data_preprocessor has no mean: the network receives values of 0 to 255',
                        'set the mean and std with which the weights were trained')]
    if max(mean) <= 1.5:
        return [Finding('error', 'config', f'data_preprocessor.mean={list(mean)} is for images of 0 to 1, but images '
                        'are loaded as 0 to 255', 'multiply mean and std by 255')]
    findings = []
    for known, order, needs_rgb in ((IMAGENET_RGB, 'red, green, blue', True), (CAFFE_BGR, 'blue, green, red', False)):
        if np.allclose(mean, known, atol=1) and rgb != needs_rgb:
            findings.append(Finding('warning', 'config', f'mean={list(mean)} is in the order {order}, but the network '
                                    f'gets {"RGB" if rgb else "BGR"} (bgr_to_rgb={rgb})',
                                    f'set bgr_to_rgb={needs_rgb}'))
    if std is None or (max(std) <= 1.5 and min(std) < 0.9):
        findings.append(Finding('warning', 'config', f'data_preprocessor.std={std} is for images of 0 to 1',
                                'multiply it by 255'))
    return findings


def _crops(cfg: Config, parts: Parts, samples: Samples) -> list[Finding]:
    """Training images must have one size, that of the preprocessor, and fill the crop."""
    size = (_segmentor(cfg).get('data_preprocessor') or {}).get('size')
    findings, finals = [], {}
    for name, opened in samples.items():
        shapes = {sample.final for sample in opened if sample.final}
        if parts[name].evaluates or not shapes:
            continue
        wanted = [*shapes, *_crop_sizes(parts[name]), *([tuple(size)] if size else [])]
        finals[name] = height, width = tuple(max(axis) for axis in zip(*wanted))
        covered = {sample.image: min(1, sample.final[0] / height) * min(1, sample.final[1] / width)
                   for sample in opened if sample.final}
        small = [image for image, share in covered.items() if share < 1]
        if small and len(shapes) > 1 and not size:
            findings.append(Finding('error', name, f'images reach the network in different sizes, up to {width}x'
                                    f'{height}', 'crop them to one size, and set data_preprocessor.size to it', small,
                                    len(opened)))
        elif small:
            level = 'error' if min(covered.values()) < MIN_COVERED else 'warning'
            findings.append(Finding(level, name, f'images are smaller than {width}x{height} after the pipeline: up to '
                                    f'{1 - min(covered.values()):.0%} of a crop is padding', 'choose a smaller '
                                    'crop_size and data_preprocessor.size, or resize the images to at least this size',
                                    small, len(opened)))
    if len(set(finals.values())) > 1:
        listed = ', '.join(f'{name} {width}x{height}' for name, (height, width) in finals.items())
        findings.append(Finding('error', 'config', f'branches reach the network in different sizes: {listed}',
                                'mixing needs branches of equal size: set the same crop_size for all'))
    return findings


def _crop_sizes(part: Part) -> list[tuple[int, int]]:
    sizes = [t['crop_size'] for t in part.pipeline if 'crop_size' in t]
    return [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]


def _prior(cfg: Config, parts: Parts, samples: Samples) -> list[Finding]:
    """CAMix's spatial prior must exist and match the classes, the aspect and the labels."""
    path = (((cfg.get('model') or {}).get('masks') or {}).get('context') or {}).get('prior')
    if not path:
        return []
    config = os.path.relpath(cfg.filename) if getattr(cfg, 'filename', None) else 'CONFIG'
    remedy = f'count it: mmseg-camix prior {config} --out {path}'
    source = parts.get('source')
    if not os.path.isfile(path):
        return [Finding('warning', 'config', f'there is no spatial prior {path} yet', remedy)]
    target = [sample for sample in samples.get('target', ()) if sample.resized]
    try:
        prior = load_spatial_prior(path, source.classes if source else None)
    except (OSError, ValueError, KeyError) as error:
        return [Finding('error', 'config', f'the spatial prior cannot be used: {error}', remedy)]
    findings = []
    others = [sample.image for sample in target
              if stretch(prior.size, sample.resized[1] / sample.resized[0]) > MAX_STRETCH]
    if others:  # training would stop at the first of them
        findings.append(Finding(
            'error', 'target', f'{path} was counted at {prior.size[1]}x{prior.size[0]}, but resized target images '
            f'differ from its aspect by more than a factor of {MAX_STRETCH}', 'count it for their format '
            '(--size WIDTH HEIGHT), leave a few others out by an `ann_file`, or do without: prior=None, and '
            "groups other than 'auto'", others, len(target)))
    if source and prior.num_images != len(source.dataset):
        findings.append(Finding('warning', 'config', f'{path} was counted from {prior.num_images} labels, the source '
                                f'has {len(source.dataset)}', 'count it again (mmseg-camix prior)'))
    if any(sample.crop_box is None and sample.error is None for sample in target):
        findings.append(Finding('error', 'target', 'the pipeline does not record the place of the crop, which the '
                                'spatial prior needs', 'use RecordedRandomCrop instead of RandomCrop, and '
                                'PackUDAInputs'))
    return findings


def _groups(cfg: Config, classes: Sequence[str] | None) -> list[Finding]:
    """CAMix's groups must name classes of the data."""
    model = cfg.get('model') or {}
    groups = ((model.get('masks') or {}).get('context') or {}).get('groups', DEFAULT_GROUPS)
    if model.get('type') != 'CAMix' or not groups or groups == 'auto' or classes is None:
        return []
    try:
        related = relation_matrix(groups, classes).any()
    except (ValueError, KeyError, TypeError) as error:
        return [Finding('error', 'config', f'model.masks.context.groups: {error}',
                        "name classes of the data, or derive the groups from the labels: groups='auto'")]
    return [] if related else [
        Finding('note', 'config', f'groups={list(groups)} name no two classes of the data: no class adds another',
                "define groups of your classes, or groups='auto'")]


def _sampling(cfg: Config, parts: Parts) -> Iterator[Finding]:
    """Pairs need their sampler, samplers of rare classes their counts."""
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    if 'target' in parts and sampler.get('type') != 'PairedSampler':
        yield Finding('error', 'config', 'source and target are paired by another sampler than PairedSampler',
                      "train_dataloader = dict(sampler=dict(type='PairedSampler'), ...)")
    for name, part in parts.items():
        for wrapper in part.wrappers:
            stats = wrapper.get('stats')
            if stats and not os.path.isfile(stats):
                yield Finding('warning', name, f'{wrapper["type"]} needs the class statistics {stats}, which do not '
                              'exist yet', 'count them: mmseg-camix stats --help')
            elif not stats and len(part.dataset) > MANY_LABELS:
                yield Finding('note', name, f'{wrapper["type"]} reads all {len(part.dataset)} labels whenever training '
                              'starts', 'count them once and set `stats`')


def _class_lists(parts: Parts) -> Iterator[Finding]:
    first = next((name for name in ('source', 'target') if name in parts), None)
    expected = parts[first].classes if first else None
    for name, part in parts.items():
        if expected is None or part.classes is None or part.classes == expected:
            continue
        differ = sorted(set(part.classes) ^ set(expected))
        text = f'classes differ from those of {first}: {", ".join(differ)}' if differ else \
            f'the classes of {first} in another order'
        yield Finding('error', name, text, 'define the same classes in the same order for every dataset (`classes` of '
                                           'FolderDataset, or `metainfo=dict(classes=...)`)')


def _aspects(samples: Samples) -> list[Finding]:
    sizes = {name: [sample.resized for sample in samples.get(name, ()) if sample.resized]
             for name in ('source', 'target')}
    if not all(sizes.values()):
        return []
    aspect = {name: float(np.median([width / height for height, width in part])) for name, part in sizes.items()}
    if max(aspect.values()) / min(aspect.values()) <= MAX_STRETCH:
        return []
    return [Finding('warning', 'config', f'after the pipelines, source images have aspect {aspect["source"]:.2f} and '
                    f'target images {aspect["target"]:.2f}', "positions differ between them, and CAMix's spatial prior "
                    f'refuses more than a factor of {MAX_STRETCH}: resize both alike, or crop one to the aspect of '
                    'the other')]


def _colours(samples: Samples) -> list[Finding]:
    grey = {name: np.mean([sample.mode in ('1', 'L', 'LA') for sample in part])
            for name, part in samples.items() if name in ('source', 'target') and part}
    if len(grey) == 2 and abs(grey['source'] - grey['target']) > 0.5:
        domain = max(grey, key=grey.get)
        return [Finding('warning', 'config', f'the {domain} images are grey, those of the other domain are not',
                        'convert the other domain to grey as well; learnt colours are lost otherwise')]
    return []


def _overlaps(parts: Parts) -> Iterator[Finding]:
    paths = {name: {os.path.abspath(info['img_path']) for info in part.infos()} for name, part in parts.items()}
    for name in ('val', 'test'):
        for other in ('source', 'target'):
            files = sorted(paths.get(name, set()) & paths.get(other, set()))
            if files:
                yield Finding('warning', name, f'images are also in {other}', 'evaluate on images that are not used in '
                              'training, labelled or not', files, len(paths[name]))


def class_shares(samples: Sequence[Sample], num_classes: int) -> np.ndarray | None:
    """(C,) share of each class in the labelled pixels; None without labels."""
    total = sum((sample.counts[:num_classes] for sample in samples if sample.counts is not None), np.zeros(num_classes))
    return total / total.sum() if total.sum() else None


def _frequencies(parts: Parts, samples: Samples, complete: bool) -> Iterator[Finding]:
    """Classes that are missing or rare, and that are frequent in one domain only."""
    source = parts.get('source')
    if source is None or source.classes is None:
        return
    names, among = source.classes, '' if complete else ' among the files that were opened'
    evaluated = next((name for name in ('val', 'test') if name in samples), None)
    train = class_shares(samples.get('source', ()), len(names))
    val = class_shares(samples[evaluated], len(names)) if evaluated else None
    if train is not None:
        present = (getattr(source.dataset, 'metainfo', None) or {}).get('present_classes') or names
        if absent := [name for name, share in zip(names, train) if share == 0 and name in present]:
            yield Finding('warning', 'source', f'no pixel of {", ".join(absent)}{among}', 'the network cannot learn '
                          'these; check their numbers, or remove them from `classes`')
        if rare := [name for name, share in zip(names, train) if 0 < share < RARE_SHARE]:
            yield Finding('note', 'source', f'less than {RARE_SHARE:.2%} of the pixels: {", ".join(rare)}',
                          "dict(type='RareClassDataset', dataset=...) around the source samples them more often")
    if val is not None and (absent := [name for name, share in zip(names, val) if share == 0]):
        yield Finding('note', evaluated, f'no pixel of {", ".join(absent)}{among}', 'means omit such classes, unless '
                      'they are predicted; then they count as 0')
    if train is not None and val is not None:
        shifted = [f'{name} ({a:.2%} and {b:.2%})' for name, a, b in zip(names, train, val)
                   if min(a, b) > 0 and max(a, b) > MAX_SHIFT * min(a, b)]
        if shifted:
            yield Finding('note', 'config', f'shares of pixels in source and {evaluated} differ more than tenfold: '
                          f'{", ".join(shifted)}', 'expect low scores of these classes; check that their names mean '
                          'the same in both')
