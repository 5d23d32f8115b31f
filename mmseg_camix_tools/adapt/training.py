"""The configs of an adaptation: the network on the source only, and the adapted one."""

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.datasets.encodings import CLASSES
from mmseg_camix.engine.speed import apply_options
from mmseg_camix.models.uda.wrapper import BRANCHES
from mmseg_camix.selection import RECOMMENDED
from mmseg_camix.spatial_prior import MAX_STRETCH, stretch
from mmseg_camix.type_names import type_name
from mmseg_camix_tools.export.segmentor import SYNCHRONISED

from . import recipe
from .draft import Draft, Size, plain_dataset, resize_to
from .schedules import compress_schedulers

VALIDATIONS = 6  # during the adaptation
CHECKPOINT_SECONDS = 120.0  # between two checkpoints, the most that a kill costs
RATE_WITHOUT_SOURCE = 0.01  # of the config's learning rate: nothing but its own predictions corrects the network
# Entries that are copied from the user's config.
KEPT = ('default_scope', 'env_cfg', 'vis_backends', 'visualizer', 'log_level', 'launcher')


@dataclass(frozen=True)
class Fit:
    """A size that fits the device, and the measured time of its steps."""

    crop: Size
    batch: int
    seconds: dict[str, float]  # of an iteration: 'unadapted', 'adapted'; of an image: 'validation'


@dataclass(frozen=True)
class Plan:
    """Lengths of the trainings, and of their validations."""

    unadapted: int  # iterations on the source only; 0 if a checkpoint is given
    adapted: int  # iterations of the adaptation
    images: int  # target images of each validation


def unadapted_config(draft: Draft, fit: Fit, plan: Plan, checkpoint: str | None) -> Config:
    """The config of the network before adaptation; without a source it only tests."""
    config = _config(draft, fit, 'SourceOnly', {}, max(plan.unadapted, 1), plan, checkpoint, 'unadapted')
    if draft.source is None:
        config.update({key: None for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')})
    return config


def adapted_config(draft: Draft, fit: Fit, plan: Plan, method: str, checkpoint: str, prior: str | None,
                   counts: Path | None = None) -> Config:
    """The config of the adaptation, which starts from a checkpoint of the plain network.

    `prior` and `counts` are files counted from the source; None trains without them.
    """
    changes: dict[str, Any] = {}
    objectives: dict[str, Any] = {}
    if method in recipe.METHODS:
        changes = copy.deepcopy(recipe.MODEL_CHANGES)
        objectives['features'] = recipe.feature_distance(draft)
    if method == 'CAMix':
        groups = {} if draft.classes == CLASSES else dict(groups='auto' if prior else None)
        changes = dict(masks=dict(context=dict(prior=prior, **groups)))
    # In such short trainings the average of the student is better than its last state (docs/real_photographs.md).
    changes['predict_with'] = 'teacher'
    if draft.few:
        changes['branches'] = [*branches_of(method), 'few']
        objectives['few'] = dict(type='SupervisedLoss', view='few')
    if draft.source is None and fit.batch == 1:  # there is no other target image to mix with
        objectives['mixed'] = None
    if objectives:
        changes['objectives'] = objectives
    config = _config(draft, fit, method, changes, plan.adapted, plan, checkpoint, 'adapted')
    if counts and recipe.samples_rare_classes(draft, method):
        sets = config.train_dataloader.dataset
        sets.source = recipe.sampled_by_class(sets.source.to_dict(), counts, draft.source_size)
    return config


def _config(draft: Draft, fit: Fit, method: str, changes: dict, iterations: int, plan: Plan,
            checkpoint: str | None, role: str) -> Config:
    cfg = draft.cfg
    every = max(1, math.ceil(iterations / VALIDATIONS))
    saved = min(every, max(1, round(CHECKPOINT_SECONDS / fit.seconds.get(role, 1.0))))
    validated = role == 'adapted'
    content = {key: copy.deepcopy(cfg[key]) for key in KEPT if key in cfg} | dict(
        default_scope=cfg.get('default_scope', 'mmseg'), custom_imports=_imports(cfg),
        crop_size=fit.crop,
        model=dict(type=method, segmentor=_segmentor(draft, fit, checkpoint), **changes, **_acceleration(cfg)),
        load_from=checkpoint, resume=False, randomness=dict(seed=0),
        train_dataloader=dict(
            batch_size=fit.batch, num_workers=_workers(cfg), persistent_workers=_workers(cfg) > 0,
            sampler=dict(type='PairedSampler'), collate_fn=dict(type='branch_collate'),
            dataset=dict(type='PairedDataset', skip_unreadable=True, **branches(draft, fit.crop, method))),
        **_evaluation(draft, plan, validated),
        optim_wrapper=_optimiser(draft),
        param_scheduler=compress_schedulers(cfg, iterations, rate_of(draft)),
        train_cfg=dict(type='ResumableTrainLoop', max_iters=iterations,
                       val_interval=every if validated else iterations),
        default_hooks=dict(
            timer=dict(type='IterTimerHook'),
            logger=dict(type='LoggerHook', interval=min(50, max(1, iterations // 20)), log_metric_by_epoch=False),
            param_scheduler=dict(type='ParamSchedulerHook'),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=saved, max_keep_ckpts=1,
                            **(dict(save_best=score_of(draft), rule='greater') if validated else {})),
            sampler_seed=dict(type='DistSamplerSeedHook'),
            visualization=dict(type='SegVisualizationHook', draw=False)),
        custom_hooks=[*_other_hooks(cfg), dict(type='UDAHook'), dict(type='DynamicThresholdHook'),
                      dict(type='RecordMetricsHook')],
        log_processor=dict(by_epoch=False))
    config = Config(content)
    _set_precision(config)
    return config


def _evaluation(draft: Draft, plan: Plan, validated: bool) -> dict[str, Any]:
    """Loaders and metrics of target images; the unadapted network is scored by a test after its training."""
    resize, load, at_resized = resize_to(draft.short_side), dict(type='LoadIdLabels'), \
        dict(type='EvaluateAtResizedShape')
    if draft.held_out:
        dataset = dict(draft.few, test_mode=True, indices=draft.held_out, pipeline=[
            dict(type='LoadImage'), load, resize, at_resized, dict(type='PackUDAInputs')])
    else:
        dataset = target_images(draft, [resize, at_resized], test_mode=True,
                                indices=list(readable_images(draft.target, plan.images)))
    loader = dict(batch_size=1, num_workers=min(1, _workers(draft.cfg)),
                  sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
    evaluator = dict(type='SubsetIoUMetric') if draft.held_out else \
        dict(type='UnsupervisedMetric', scores=[RECOMMENDED])
    loop = dict(type='TeacherStudentValLoop')
    return dict(
        val_dataloader=loader if validated else None, val_evaluator=evaluator if validated else None,
        val_cfg=loop if validated else None, test_dataloader=loader, test_evaluator=evaluator,
        test_cfg=dict(type='TeacherStudentTestLoop'))


def score_of(draft: Draft) -> str:
    """The metric that compares checkpoints: mIoU if labelled target images are held out."""
    return 'mIoU' if draft.held_out else f'unsupervised/{RECOMMENDED}'


# ------------------------------------------------------------------ data


def branches(draft: Draft, crop: Size, method: str) -> dict[str, Any]:
    """The data sets of a training by branch."""
    varied = dict(type='RecordedRandomCrop', crop_size=crop, cat_max_ratio=0.75)
    crop_of_target = [resize_to(draft.short_side), dict(type='RecordedRandomCrop', crop_size=crop),
                      dict(type='RandomFlip', prob=0.5)]
    sets = {} if draft.source is None else dict(source=with_crop(draft.source, draft.source_size, varied))
    sets['target'] = target_images(draft, crop_of_target)
    if draft.few and method != 'SourceOnly':
        trained = [index for index in range(draft.few_count) if index not in draft.held_out]
        sets['few'] = dict(with_crop(draft.few, draft.source_size, varied), indices=trained)
    if method == 'DSP':
        sets['donor'] = copy.deepcopy(sets['source'])
        sets['rare'] = dict(type='LongTailDataset', classes=max(2, len(draft.classes) // 4), k=2,
                            dataset=with_crop(draft.source, draft.source_size,
                                              dict(type='CropWithClass', crop_size=crop)))
    return sets


def branches_of(method: str) -> tuple[str, ...]:
    """Branches of data that a method reads."""
    return tuple(MODELS.get(method).defaults.get('branches', BRANCHES))


def fewest_images(method: str) -> int:
    """Least number of images per batch: 2 for methods that mix target images with each other.

    Without a source, :func:`adapted_config` removes that mixing instead.
    """
    defaults = MODELS.get(method).defaults
    mixes = any(view['type'] == 'Shuffled' for view in defaults.get('views', {}).values())
    return 2 if mixes and 'source' in branches_of(method) else 1


def with_crop(dataset: dict[str, Any], size: Size, crop: dict[str, Any]) -> dict[str, Any]:
    """A data set with a crop after its last resize (to `size`), flips, and packing.

    Lower bounds of random resizes are raised, so that images are never smaller than the crop.
    """
    dataset = copy.deepcopy(dataset)
    plain = plain_dataset(dataset)
    pipeline = plain['pipeline']
    least = max(side / whole for side, whole in zip(crop['crop_size'], size))
    for transform in pipeline:
        if ratios := transform.get('ratio_range'):
            transform['ratio_range'] = (max(ratios[0], round(least + 0.005, 2)), max(ratios[1], 1.0))
    place = 1 + max(index for index, transform in enumerate(pipeline)
                    if type_name(transform).startswith('Load') or type_name(transform).endswith(('Resize', 'Edge')))
    plain['pipeline'] = [*pipeline[:place], crop, dict(type='RandomFlip', prob=0.5), *pipeline[place:],
                         dict(type='PackUDAInputs')]
    return dataset


def target_images(draft: Draft, transforms: list[dict], **options: Any) -> dict[str, Any]:
    """The unlabelled target images as a data set with the source's classes."""
    palette = draft.metainfo.get('palette')
    return dict(type='FolderDataset', data_root=str(draft.target.absolute()), images='', labels=None,
                classes=list(draft.classes), palette=palette and [list(colour) for colour in palette],
                pipeline=[dict(type='LoadImage'), *transforms, dict(type='PackUDAInputs')], **options)


@lru_cache
def readable_images(target: Path, number: int) -> tuple[int, ...]:
    """Indices of readable images, spread over a folder: unlike a training, an evaluation replaces no damaged ones."""
    dataset = DATASETS.build(dict(type='FolderDataset', data_root=str(target.absolute()), images='', labels=None,
                                  classes=['first', 'second'], pipeline=[dict(type='LoadImage')]))

    def is_readable(index: int) -> bool:
        try:
            dataset[index]
        except OSError:
            return False
        return True

    return tuple(filter(is_readable, spread_indices(len(dataset), number)))


def needs_prior(draft: Draft, method: str) -> bool:
    """Whether the method uses a spatial prior, and the source's aspect is near enough to those of all target images."""
    return method == 'CAMix' and all(stretch(draft.source_size, width / height) <= MAX_STRETCH
                                     for height, width in draft.target_sizes)


def _workers(cfg: Mapping) -> int:
    wanted = (cfg.get('train_dataloader') or {}).get('num_workers', 2)
    return min(wanted, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)


# ------------------------------------------------------------------ network and optimiser


def _segmentor(draft: Draft, fit: Fit, checkpoint: str | None) -> dict[str, Any]:
    """The plain network for crops of this size on one device; without initial weights if a checkpoint has them all."""
    segmentor = _without_sync(copy.deepcopy(draft.segmentor))
    segmentor['data_preprocessor'].pop('size_divisor', None)
    segmentor['data_preprocessor']['size'] = fit.crop
    if checkpoint:
        segmentor['pretrained'] = None
        segmentor['backbone']['init_cfg'] = None
    return segmentor


def _acceleration(cfg: Mapping) -> dict[str, Any]:
    given = cfg['model'].get('acceleration')
    return dict(acceleration=copy.deepcopy(given)) if given else {}


def _without_sync(node: Any) -> Any:
    """A config with BatchNorm instead of its synchronised variants: equal weights, but it runs without a GPU."""
    if isinstance(node, dict):
        return {key: 'BN' if key == 'type' and value in SYNCHRONISED else _without_sync(value)
                for key, value in node.items()}
    return [_without_sync(item) for item in node] if isinstance(node, list) else node


def _optimiser(draft: Draft) -> dict[str, Any]:
    """The optimiser of the config, or AdamW; with a lower learning rate if there is no source."""
    wrapper = copy.deepcopy(draft.cfg.get('optim_wrapper') or
                            dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=6e-5, weight_decay=0.01)))
    if 'lr' in wrapper['optimizer']:
        wrapper['optimizer']['lr'] *= rate_of(draft)
    return wrapper


def rate_of(draft: Draft) -> float:
    """Factor on the learning rate of the config."""
    return RATE_WITHOUT_SOURCE if draft.source is None else 1.0


def _set_precision(config: Config) -> None:
    """Enable mixed precision on a GPU unless the config has its own optimiser wrapper; remove it without a GPU."""
    wrapper = config.optim_wrapper
    if type_name(wrapper) == 'AmpOptimWrapper' and not torch.cuda.is_available():
        config.optim_wrapper = dict({key: wrapper[key] for key in wrapper.keys() - {'loss_scale', 'dtype', 'use_fsdp'}},
                                    type='OptimWrapper')
    if torch.cuda.is_available() and config.optim_wrapper.get('type', 'OptimWrapper') == 'OptimWrapper':
        apply_options(config, ['amp=bf16' if torch.cuda.is_bf16_supported() else 'amp=fp16'])


def _imports(cfg: Mapping) -> dict[str, Any]:
    given = (cfg.get('custom_imports') or {}).get('imports') or []
    given = [given] if isinstance(given, str) else given
    return dict(imports=list(dict.fromkeys(['mmseg_camix', *given])),
                allow_failed_imports=False)


def _other_hooks(cfg: Mapping) -> list[dict[str, Any]]:
    own = ('UDAHook', 'DynamicThresholdHook', 'RecordMetricsHook')
    return [copy.deepcopy(hook) for hook in cfg.get('custom_hooks') or [] if type_name(hook) not in own]
