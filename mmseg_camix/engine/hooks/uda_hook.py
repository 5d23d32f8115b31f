"""The hook that every adapted training needs."""

from __future__ import annotations

from mmengine.dist import get_rank
from mmengine.dist.utils import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmseg_camix.datasets.seeding import seed_all

from ..processes import average_statistics, refuse_sharding, share_statistics
from ..rank_state import SECTION, restore_rank_state
from .unreadable import note_unreadable, summarise_unreadable


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without DDP or test-time augmentation around it."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def made_a_step(optimizer: OptimWrapper) -> bool:
    """Whether it has just moved the weights: it neither gathers gradients, nor did NonFiniteHook hold it back."""
    return optimizer.should_update() and not getattr(optimizer, 'skipped', False)


@HOOKS.register_module()
class UDAHook(Hook):
    """Tells the model where the training stands before a step, and moves the teacher after it.

    It works with gradient accumulation: the teacher moves only when the optimiser has. It also makes
    a resumed training exact: global generators (dropout) are seeded anew for each iteration, and what
    processes know beyond the weights is in the checkpoint.
    """

    priority = 'NORMAL'
    _rank_states: list | None = None

    def before_train(self, runner: Runner) -> None:
        """Runs after weights were initialised, loaded or resumed; so a resumed teacher stays."""
        model = unwrapped(runner.model)
        if not hasattr(model, 'update_teacher'):
            raise TypeError(f'UDAHook moves the teacher of an adapted model, but {type(model).__name__} is a plain '
                            "one; wrap it, model = dict(type='DACS', segmentor=<your model>), or leave the hook out")
        refuse_sharding(runner)
        _check_classes(model, runner)
        model.prepare(getattr(runner.train_dataloader.dataset, 'metainfo', None) or {})
        # Weights that were resumed, not only loaded, may come with gradients for the first step.
        states, self._rank_states = self._rank_states, None
        waiting = states is not None and runner.iter > 0 and restore_rank_state(runner, states)
        if model.teacher is not None and model.teacher.steps_made == 0 and not waiting:
            model.teacher.copy_student(model.student)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Ranks draw different masks: their seeds are apart, the same in every run."""
        model, seed = unwrapped(runner.model), (runner.seed or 0) * get_world_size() + get_rank()
        # With one batch in common, each takes its own rows of what all draw.
        model.set_progress(runner.iter, runner.max_iters, (runner.seed or 0) if model.global_batch else seed)
        # So neither a validation in between nor a restart changes what the step draws.
        seed_all(seed, 'step', runner.iter)
        note_unreadable(runner, data_batch)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """The teacher moves once the optimiser has made its step."""
        if made_a_step(runner.optim_wrapper):
            model = unwrapped(runner.model)
            if model.teacher is not None and model.teacher.norm == 'running':
                average_statistics(model.student)  # the teacher copies them, and must be the same everywhere
            model.update_teacher()

    def after_train(self, runner: Runner) -> None:
        """Nothing that was left out goes unsaid."""
        summarise_unreadable(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what was gathered of the processes."""
        if states := getattr(runner, 'rank_states', None):
            checkpoint[SECTION] = states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep it until the weights are in place."""
        self._rank_states = checkpoint.pop(SECTION, [{}])

    def before_val_epoch(self, runner: Runner) -> None:
        """Running statistics differ between ranks; all evaluate with those of rank 0."""
        share_statistics(unwrapped(runner.model))


def _check_classes(model: nn.Module, runner: Runner) -> None:
    dataset = runner.train_dataloader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(
            f'the segmentor predicts {model.num_classes} classes, but the data set has {len(classes)} '
            f'({", ".join(classes)}); set num_classes of decode_head (and auxiliary_head) to {len(classes)}')
