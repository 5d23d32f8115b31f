"""The hook that every adapted training needs."""

from __future__ import annotations

from mmengine.dist import get_rank, is_distributed
from mmengine.dist.utils import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import distributed, nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without DDP or the like around it."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module()
class UDAHook(Hook):
    """Tells the model where the training stands before a step, and moves the teacher after it.

    It works with gradient accumulation: the teacher moves only when the optimiser has.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Runs after weights were initialised, loaded or resumed; so a resumed teacher stays."""
        model = unwrapped(runner.model)
        if not hasattr(model, 'update_teacher'):
            raise TypeError(f'UDAHook moves the teacher of an adapted model, but {type(model).__name__} is a plain '
                            "one; wrap it, model = dict(type='DACS', segmentor=<your model>), or leave the hook out")
        _check_classes(model, runner)
        model.prepare(getattr(runner.train_dataloader.dataset, 'metainfo', None) or {})
        if model.teacher is not None and model.teacher.steps_made == 0:
            model.teacher.copy_student(model.student)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Ranks draw different masks: their seeds are apart, the same in every run."""
        seed = (runner.seed or 0) * get_world_size() + get_rank()
        unwrapped(runner.model).set_progress(runner.iter, runner.max_iters, seed)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """The teacher moves once the optimiser has made its step."""
        if runner.optim_wrapper.should_update():
            unwrapped(runner.model).update_teacher()

    def before_val_epoch(self, runner: Runner) -> None:
        """Running statistics differ between ranks; all evaluate with those of rank 0."""
        _share_buffers(unwrapped(runner.model))


def _check_classes(model: nn.Module, runner: Runner) -> None:
    dataset = runner.train_dataloader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and len(classes) != model.num_classes:
        raise ValueError(
            f'the segmentor predicts {model.num_classes} classes, but the data set has {len(classes)} '
            f'({", ".join(classes)}); set num_classes of decode_head (and auxiliary_head) to {len(classes)}')


def _share_buffers(model: nn.Module) -> None:
    if is_distributed():
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)
