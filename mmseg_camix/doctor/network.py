"""What the config says about the network and the sampling, against the data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.config import Config

from mmseg_camix.ops.context import relation_matrix
from mmseg_camix.spatial_prior import load_spatial_prior

from .findings import Finding
from .parts import Part
from .sample import Seen

IMAGENET_RGB, CAFFE_BGR = (123.675, 116.28, 103.53), (104.0, 116.67, 122.68)
MANY_LABELS = 2000
DEFAULT_GROUPS = ('I', 'II')  # of ContextMask
Samples = Mapping[str, Sequence[Seen]]


def segmentor_of(cfg: Config) -> dict:
    """Config of the segmentor, adapted or plain."""
    model = cfg.get('model') or {}
    return model.get('segmentor') or model


def head(cfg: Config, classes: Sequence[str] | None) -> list[Finding]:
    """Number of outputs of each head against the number of classes."""
    found = []
    for name in ('decode_head', 'auxiliary_head'):
        heads = segmentor_of(cfg).get(name) or []
        for one in heads if isinstance(heads, (list, tuple)) else [heads]:
            outputs = one.get('num_classes')
            if classes is not None and outputs is not None and outputs != len(classes):
                found.append(Finding('error', 'config', f'{name} has num_classes={outputs}, but the data have '
                                     f'{len(classes)} classes', f'set num_classes={len(classes)} in {name}'))
    return found


def normalisation(cfg: Config) -> list[Finding]:
    """Mean and order of channels that do not belong together, or to images of 0 to 255."""
    preprocessor = segmentor_of(cfg).get('data_preprocessor') or {}
    mean, std, rgb = preprocessor.get('mean'), preprocessor.get('std'), preprocessor.get('bgr_to_rgb', False)
    if mean is None:
        return [Finding('warning', 'config', 'data_preprocessor has no mean: images reach the network as 0 to 255',
                        'give it the mean and std with which the weights were trained')]
    if max(mean) <= 1.5:
        return [Finding('error', 'config', f'data_preprocessor.mean={list(mean)} is for images of 0 to 1, but images '
                        'are loaded as 0 to 255', 'multiply mean and std by 255')]
    found = []
    for known, order, right in ((IMAGENET_RGB, 'red, green, blue', True), (CAFFE_BGR, 'blue, green, red', False)):
        if np.allclose(mean, known, atol=1) and rgb != right:
            found.append(Finding('warning', 'config', f'mean={list(mean)} is in the order {order}, but the network '
                                 f'gets {"RGB" if rgb else "BGR"} (bgr_to_rgb={rgb})', f'set bgr_to_rgb={right}'))
    if std is None or max(std) <= 1.5 and min(std) < 0.9:
        found.append(Finding('warning', 'config', f'data_preprocessor.std={std} is for images of 0 to 1',
                             'multiply it by 255'))
    return found


def crops(cfg: Config, parts: Mapping[str, Part], seen: Samples) -> list[Finding]:
    """Training images of one size, that of the preprocessor, and not smaller than the crop."""
    size = (segmentor_of(cfg).get('data_preprocessor') or {}).get('size')
    found, finals = [], {}
    for name, samples in seen.items():
        shapes = {one.final for one in samples if one.final}
        if parts[name].evaluates or not shapes:
            continue
        wanted = [*shapes, *_crop_sizes(parts[name]), *([tuple(size)] if size else [])]
        finals[name] = height, width = tuple(max(axis) for axis in zip(*wanted))
        small = [one.image for one in samples if one.final and (one.final[0] < height or one.final[1] < width)]
        if small and len(shapes) > 1 and not size:
            found.append(Finding('error', name, f'images reach the network in different sizes, up to {width}x{height}',
                                 'crop them to one size, and give it as data_preprocessor.size', small, len(samples)))
        elif small:
            found.append(Finding('warning', name, f'images are smaller than {width}x{height} after the pipeline, and '
                                 'are padded', 'resize so that both sides are at least as long as the crop; '
                                 'data_preprocessor.size should be the crop', small, len(samples)))
    if len(set(finals.values())) > 1:
        listed = ', '.join(f'{name} {width}x{height}' for name, (height, width) in finals.items())
        found.append(Finding('error', 'config', f'branches reach the network in different sizes: {listed}',
                             'mixing pastes one on the other: give all branches the same crop_size'))
    return found


def _crop_sizes(part: Part) -> list[tuple[int, int]]:
    given = [t['crop_size'] for t in part.pipeline if 'crop_size' in t]
    return [(one, one) if isinstance(one, int) else tuple(one) for one in given]


def prior(cfg: Config, parts: Mapping[str, Part], seen: Samples) -> list[Finding]:
    """CAMix's spatial prior: there, of these classes, of this format, of these labels."""
    mask = ((cfg.get('model') or {}).get('masks') or {}).get('context') or {}
    path = mask.get('prior')
    if not path:
        return []
    classes = parts['source'].classes if 'source' in parts else None
    if not os.path.isfile(path):
        return [Finding('warning', 'config', f'the spatial prior {path} is not there yet', _count_prior(cfg, path))]
    target = [one for one in seen.get('target', ()) if one.resized]
    aspect = float(np.median([one.resized[1] / one.resized[0] for one in target])) if target else None
    try:
        counted = load_spatial_prior(path, classes, aspect)
    except (OSError, ValueError, KeyError) as error:
        return [Finding('error', 'config', f'the spatial prior cannot be used: {error}', _count_prior(cfg, path))]
    found = []
    if 'source' in parts and counted.num_images != len(parts['source'].dataset):
        found.append(Finding('warning', 'config', f'{path} was counted from {counted.num_images} labels, the source '
                             f'has {len(parts["source"].dataset)}', 'count it again (build_spatial_prior.py)'))
    if target and any(one.crop_box is None for one in target):
        found.append(Finding('error', 'target', 'the pipeline does not record the place of the crop, which the spatial '
                             'prior needs', 'use RecordedRandomCrop instead of RandomCrop, and PackUDAInputs'))
    return found


def groups(cfg: Config, classes: Sequence[str] | None) -> list[Finding]:
    """CAMix's groups name classes of the data."""
    model = cfg.get('model') or {}
    given = ((model.get('masks') or {}).get('context') or {}).get('groups', DEFAULT_GROUPS)
    if model.get('type') != 'CAMix' or not given or given == 'auto' or classes is None:
        return []
    try:
        pulls = relation_matrix(given, classes).any()
    except (ValueError, KeyError, TypeError) as error:
        return [Finding('error', 'config', f'model.masks.context.groups: {error}',
                        "name classes of the data, or let the labels decide: groups='auto'")]
    if not pulls:
        return [Finding('note', 'config', f'groups={list(given)} name no two classes of the data: no class brings '
                        'another', "give groups of your classes, or groups='auto'")]
    return []


def sampling(cfg: Config, parts: Mapping[str, Part]) -> list[Finding]:
    """Sampler of the pairs, and counts that samplers of rare classes need."""
    loader, found = cfg.get('train_dataloader') or {}, []
    if 'target' in parts and (loader.get('sampler') or {}).get('type') != 'PairedSampler':
        found.append(Finding('error', 'config', 'source and target are paired by another sampler than PairedSampler',
                             "train_dataloader = dict(sampler=dict(type='PairedSampler'), ...)"))
    for name, part in parts.items():
        for wrapper in part.wrappers:
            stats = wrapper.get('stats')
            if stats and not os.path.isfile(stats):
                found.append(Finding('warning', name, f'the class statistics {stats} of {wrapper["type"]} are not '
                                     'there yet', 'count them: python tools/dataset/class_stats.py --help'))
            elif not stats and len(part.dataset) > MANY_LABELS:
                found.append(Finding('note', name, f'{wrapper["type"]} reads all {len(part.dataset)} labels whenever a '
                                     'training starts', 'count them once and give `stats`'))
    return found


def _count_prior(cfg: Config, path: str) -> str:
    config = os.path.relpath(cfg.filename) if getattr(cfg, 'filename', None) else 'CONFIG'
    return f'count it: python tools/dataset/build_spatial_prior.py {config} --out {path}'
