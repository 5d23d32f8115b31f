"""The hook that every adapted training needs."""

from __future__ import annotations

from mmengine.dist import get_rank
from mmengine.dist.utils import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmseg_camix.datasets import PairedSampler
from mmseg_camix.datasets.seeding import seed_all
from mmseg_camix.models.adapter import main_head

from ..processes import average_statistics, refuse_sharding, share_statistics
from ..rank_state import SECTION, restore_rank_state
from .samples import UnlabelledBatches, count_unreadable, summarise_unreadable


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model without its DDP or test-time augmentation wrapper."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def has_stepped(wrapper: OptimWrapper) -> bool:
    """Whether the optimiser has just moved the weights: not while accumulating, nor where NonFiniteHook skipped."""
    return wrapper.should_update() and not getattr(wrapper, 'skipped', False)


@HOOKS.register_module()
class UDAHook(Hook):
    """Sets the model's training progress before each step, and moves the teacher after it.

    With gradient accumulation the teacher moves only when the optimiser has. The hook also makes resuming exact:
    global generators (dropout) are seeded for each iteration, and the state of the other processes is saved in
    checkpoints.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._rank_states: list | None = None
        self._unlabelled = UnlabelledBatches()

    def before_train(self, runner: Runner) -> None:
        """Check model and loop, and initialise the teacher; after weights were initialised, loaded or resumed."""
        model = unwrap_model(runner.model)
        if not hasattr(model, 'update_teacher'):
            raise TypeError(f'UDAHook moves the teacher of an adapted model, but {type(model).__name__} has none; wrap '
                            "it, model = dict(type='DACS', segmentor=<your model>), or remove the hook")
        refuse_sharding(runner)
        _check_loop(runner)
        _check_classes(model, runner)
        model.prepare(getattr(runner.train_dataloader.dataset, 'metainfo', None) or {})
        self._unlabelled = UnlabelledBatches(main_head(model.student).ignore_index)
        # Resumed weights, unlike loaded ones, may come with gradients for the first step.
        states, self._rank_states = self._rank_states, None
        has_gradients = states is not None and runner.iter > 0 and restore_rank_state(runner, states)
        if model.teacher is not None and model.teacher.steps_made == 0 and not has_gradients:
            model.teacher.copy_student(model.student)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set progress and seeds: processes draw different masks, the same in every run."""
        model, seed = unwrap_model(runner.model), (runner.seed or 0) * get_world_size() + get_rank()
        # With a global batch all processes draw the same numbers, and each takes the rows of its own images.
        model.set_progress(runner.iter, runner.max_iters, (runner.seed or 0) if model.global_batch else seed)
        # Neither a validation in between nor a restart may change what the step draws.
        seed_all(seed, 'step', runner.iter)
        count_unreadable(runner, data_batch)
        self._unlabelled.update(data_batch)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Move the teacher if the optimiser has made a step."""
        if has_stepped(runner.optim_wrapper):
            model = unwrap_model(runner.model)
            if model.teacher is not None and model.teacher.norm == 'running':
                average_statistics(model.student)  # the teacher copies them, and must be the same everywhere
            model.update_teacher()

    def after_train(self, runner: Runner) -> None:
        """Log the samples that could not be read."""
        summarise_unreadable(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state of the other processes."""
        if states := getattr(runner, 'rank_states', None):
            checkpoint[SECTION] = states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the state of the processes until the weights are loaded."""
        self._rank_states = checkpoint.pop(SECTION, [{}])

    def before_val_epoch(self, runner: Runner) -> None:
        """Give all processes the running statistics of the first, with which all of them evaluate."""
        share_statistics(unwrap_model(runner.model))


def _check_loop(runner: Runner) -> None:
    loop, loader = runner.train_loop, runner.train_dataloader
    if isinstance(loop, EpochBasedTrainLoop) and isinstance(loader.sampler, PairedSampler):
        # An epoch of paired data would never end.
        per_epoch = -(-len(loader.dataset.datasets['source']) // (loader.batch_size * get_world_size()))
        raise ValueError(
            f'{type(loop).__name__} counts epochs, but PairedDataset has no end: count iterations. {loop.max_epochs} '
            "epochs of the source are train_cfg = dict(_delete_=True, type='ResumableTrainLoop', max_iters="
            f'{loop.max_epochs * per_epoch}, val_interval={loop.val_interval * per_epoch}); hooks, schedulers and '
            'log_processor need by_epoch=False')
    if runner.max_iters < 1:
        raise ValueError(f'train_cfg.max_iters={runner.max_iters} must be at least 1')


def _check_classes(model: nn.Module, runner: Runner) -> None:
    classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(
            f'the segmentor predicts {model.num_classes} classes, but the data set has {len(classes)} '
            f'({", ".join(classes)}); set num_classes of decode_head (and auxiliary_head) to {len(classes)}')
