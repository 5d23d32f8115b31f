"""The hook that every adapted training needs."""

import logging
from typing import Any

from mmengine.dist import get_rank
from mmengine.dist.utils import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmseg_camix.datasets import PairedSampler
from mmseg_camix.datasets.paired import replacement_reasons
from mmseg_camix.datasets.seeding import seed_all
from mmseg_camix.files import printable
from mmseg_camix.models.adapter import main_head

from ..processes import (
    SECTION,
    average_statistics,
    refuse_sharding,
    restore_rank_state,
    share_statistics,
    unwrap_model,
)


def has_stepped(wrapper: OptimWrapper) -> bool:
    """Whether the optimiser has just moved the weights: not while accumulating, nor where NonFiniteHook skipped."""
    return wrapper.should_update() and not getattr(wrapper, 'skipped', False)


@HOOKS.register_module()
class UDAHook(Hook):
    """Sets the model's training progress before each step, and moves the teacher after it.

    With gradient accumulation the teacher moves only when the optimiser has. The hook also makes resuming exact: global
    generators (dropout) are seeded for each iteration, and the state of the other processes is saved in checkpoints.
    """

    def __init__(self) -> None:
        self._rank_states: list | None = None
        self._unlabelled = UnlabelledBatches()

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if not hasattr(model, 'update_teacher'):
            raise TypeError(f'UDAHook moves the teacher of an adapted model, but {type(model).__name__} has none; wrap '
                            "it, model = dict(type='DACS', segmentor=<your model>), or remove the hook")
        refuse_sharding(runner)
        _check_loop(runner)
        _check_classes(model, runner)
        if runner.iter == 0:
            model.restart()
        model.prepare(getattr(runner.train_dataloader.dataset, 'metainfo', None) or {})
        model.loss_scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        self._unlabelled = UnlabelledBatches(main_head(model.student).ignore_index)
        # Resumed weights, unlike loaded ones, may come with gradients for the first step.
        states, self._rank_states = self._rank_states, None
        _check_initial_weights(model, loaded=states is not None)
        has_gradients = states is not None and runner.iter > 0 and restore_rank_state(runner, states)
        if model.teacher is not None and model.teacher.steps_made == 0 and not has_gradients:
            model.teacher.copy_student(model.student)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model, seed = unwrap_model(runner.model), (runner.seed or 0) * get_world_size() + get_rank()
        # With a global batch all processes draw the same numbers, and each takes the rows of its own images.
        model.set_progress(runner.iter, runner.max_iters, (runner.seed or 0) if model.global_batch else seed)
        # Neither a validation in between nor a restart may change what the step draws.
        seed_all(seed, 'step', runner.iter)
        count_unreadable(runner, data_batch)
        self._unlabelled.update(data_batch)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if has_stepped(runner.optim_wrapper):
            model = unwrap_model(runner.model)
            if model.teacher is not None and model.teacher.norm == 'running':
                average_statistics(model.student)  # the teacher copies them, and must be the same everywhere
            model.update_teacher()

    def after_train(self, runner: Runner) -> None:
        summarise_unreadable(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if states := getattr(runner, 'rank_states', None):
            checkpoint[SECTION] = states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # Kept until the weights are loaded.
        self._rank_states = checkpoint.pop(SECTION, [{}])

    def before_val_epoch(self, runner: Runner) -> None:
        share_statistics(unwrap_model(runner.model))


def _check_loop(runner: Runner) -> None:
    loop, loader = runner.train_loop, runner.train_dataloader
    if isinstance(loop, EpochBasedTrainLoop) and isinstance(loader.sampler, PairedSampler):
        # An epoch of paired data would never end.
        branch, dataset = next(iter(loader.dataset.datasets.items()))
        per_epoch = -(-len(dataset) // (loader.batch_size * get_world_size()))
        raise ValueError(
            f'{type(loop).__name__} counts epochs, but PairedDataset has no end: count iterations. {loop.max_epochs} '
            f"epochs of the {branch} are train_cfg = dict(_delete_=True, type='ResumableTrainLoop', max_iters="
            f'{loop.max_epochs * per_epoch}, val_interval={loop.val_interval * per_epoch}); hooks, schedulers and '
            'log_processor need by_epoch=False')
    if runner.max_iters < 1:
        raise ValueError(f'train_cfg.max_iters={runner.max_iters} must be at least 1')


def _check_classes(model: nn.Module, runner: Runner) -> None:
    classes, evaluated = (
        (getattr(getattr(loader, 'dataset', None), 'metainfo', None) or {}).get('classes')
        for loader in (runner.train_dataloader, getattr(runner.val_loop, 'dataloader', None)))
    if classes and evaluated and tuple(evaluated) != tuple(classes) and set(evaluated) == set(classes):
        raise ValueError(
            f'val_dataloader has the classes in the order {", ".join(evaluated)}, but the network learns them as '
            f'{", ".join(classes)}; give both data sets one order, in FolderDataset by pairs: classes=[(name, number), '
            '...]')
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(
            f'the segmentor predicts {model.num_classes} classes, but the data set has {len(classes)} '
            f'({", ".join(classes)}); set num_classes of decode_head (and auxiliary_head) to {len(classes)}')


def _check_initial_weights(model: nn.Module, loaded: bool) -> None:
    if model.needs_checkpoint and not (loaded or model.init_cfg or model.student.init_cfg):
        raise ValueError(
            f'{type(model).__name__} learns from its own predictions only, so that it must begin with a trained '
            "network, but no checkpoint was loaded; set load_from='CHECKPOINT' (of a training on the source)")


COUNTS = 'unreadable_samples'
MAX_UNLABELLED = 20


def count_unreadable(runner: Runner, batch: dict | None) -> None:
    """Log and count samples that replace unreadable ones (`PairedDataset(skip_unreadable=True)`).

    The counts are in the message hub, so a resumed training continues them, and in the log as ``unreadable``. Each
    process has its own; checkpoints hold those of the first.
    """
    hub = runner.message_hub
    for reason in replacement_reasons(batch or {}):
        counts = dict(hub.runtime_info.get(COUNTS) or {})
        file = reason.split(' (while loading')[0]
        counts[file] = counts.get(file, 0) + 1
        hub.update_info(COUNTS, counts)
        if counts[file] == 1:  # an ERROR, because processes other than the first log nothing less
            print_log(f'{reason}. Another sample replaces it, now and whenever it comes up again ({len(counts)} '
                      'different files so far)', 'current', logging.ERROR)
    if counts := hub.runtime_info.get(COUNTS):
        hub.update_scalar('train/unreadable', sum(counts.values()))


def summarise_unreadable(runner: Runner) -> None:
    """Log how often each unreadable file was replaced."""
    if counts := runner.message_hub.runtime_info.get(COUNTS):
        files = '\n'.join(f'  {count} x {printable(file)}' for file, count in counts.items())
        print_log(f'{sum(counts.values())} samples could not be read and were replaced by others:\n{files}',
                  'current', logging.ERROR)


class UnlabelledBatches:
    """Counts consecutive source batches without a single labelled pixel, and warns once.

    Args:
        ignore_index: label of pixels that do not count.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index, self.count = ignore_index, 0

    def update(self, batch: dict | None) -> None:
        """Inspect the labels of a batch; on the host, before it reaches the model."""
        source = (batch or {}).get('source', batch or {})
        labels = [sample.gt_sem_seg.data for sample in source.get('data_samples') or () if 'gt_sem_seg' in sample]
        if source.get('labels') is not None:  # branch_collate has taken them out of the samples
            labels.append(source['labels'])
        labelled = not labels or any(bool((label != self.ignore_index).any()) for label in labels)
        self.count = 0 if labelled else self.count + 1
        if self.count == MAX_UNLABELLED:
            print_log(f'{MAX_UNLABELLED} source batches in a row have no labelled pixel (all are {self.ignore_index}): '
                      'the network learns nothing from them. Check the encoding and the paths of the source labels '
                      'with mmseg-camix check', 'current', logging.ERROR)
