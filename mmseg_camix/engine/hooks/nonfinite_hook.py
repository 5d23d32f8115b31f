"""The hook that keeps numbers which are not finite out of the weights."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from mmengine.dist import get_rank, get_world_size, is_distributed
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ...checkpoint.writer import save_checkpoint
from ..watch.buffers import BufferSnapshot
from ..watch.diagnosis import Diagnosis, NonFiniteError, diagnose, last_words
from ..watch.evidence import Forward, autocast_dtype, packed, random_states, save_evidence
from ..watch.finite import any_not_finite, loss_terms, names_not_finite
from .uda_hook import unwrapped

KEY = 'nonfinite'


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Skips a step whose loss or gradients are not finite, counts it, keeps its inputs, stops after too many.

    A skipped step leaves nothing behind: the optimiser gets no gradients, so that weights and moments
    stay; the teacher does not move; running statistics and memory banks are put back. With gradient
    accumulation all forward passes of the step are dropped. All processes decide alike. The learning
    rate's schedule goes on, for it counts iterations.

    With a dynamic loss scale (AMP) an overflow is part of the method: it is counted on its own
    (``nonfinite/overflows``) and neither saved nor counted as a failure, until the scale falls below 1.

    It works for any model of mmengine, adapted or not. One look per step waits for the device, before
    the optimiser; mmengine's own log waits after it. tools/train.py adds this hook to every adapted model;
    ``default_hooks.nonfinite=None`` leaves it out, ``default_hooks.nonfinite.max_total=20`` sets an argument.

    Args:
        max_consecutive: stop after so many skipped steps in a row; None never does.
        max_total: stop after so many in all; None never does.
        max_files: the inputs of so many skipped steps are saved, as ``<work_dir>/nonfinite/iter_N.pth``, and
            those of the one that ends the training; 0 saves none.
        save_weights: whether the weights of the step are saved beside them, so that it can be computed
            again exactly, and not only from the last checkpoint.
    """

    priority = 'HIGH'

    def __init__(self, max_consecutive: int | None = 10, max_total: int | None = 100, max_files: int = 3,
                 save_weights: bool = True) -> None:
        for name, value in (('max_consecutive', max_consecutive), ('max_total', max_total)):
            if value is not None and value < 1:
                raise ValueError(f'NonFiniteHook: {name}={value} must be at least 1; None never stops')
        self.max_consecutive, self.max_total = max_consecutive, max_total
        self.max_files, self.save_weights = max_files, save_weights
        self._handles: list = []

    def before_train(self, runner: Runner) -> None:
        """Listen to the model's losses and to the optimiser."""
        self.after_train(runner)
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            print_log(f'NonFiniteHook cannot watch a {type(wrapper).__name__}: nothing is skipped', 'current',
                      logging.WARNING)
            return
        self._model = unwrapped(runner.model)
        self._optimizer = wrapper
        self._counts = dict(skipped=0, consecutive=0, overflows=0, saved=0) | (runner.message_hub.get_info(KEY) or {})
        self._buffers = BufferSnapshot(self._model)
        self._forwards: list[Forward] = []
        self._handles = [self._model.data_preprocessor.register_forward_pre_hook(self._before_forward),
                         self._model.register_forward_hook(self._after_forward, with_kwargs=True),
                         wrapper.optimizer.register_step_pre_hook(self._before_step)]

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Remember what the forward pass begins with."""
        if not self._handles:
            return
        if not self._forwards:  # the first pass of those whose gradients are gathered
            self._buffers.take()
            self._verdict: tuple[bool, bool] | None = None
            self._gradients: list[str] = []
        self._forwards.append(Forward(runner.iter, data_batch))

    def _before_forward(self, preprocessor: nn.Module, args: tuple) -> None:
        """Other hooks may have seeded the generators."""
        if self._forwards and self._forwards[-1].random is None:
            self._forwards[-1].random = random_states()

    def _after_forward(self, model: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        if kwargs.get('mode') == 'loss' and self._forwards:
            self._forwards[-1].terms = loss_terms(output)
            self._forwards[-1].autocast = autocast_dtype(_device(self._optimizer))

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        """Take the gradients away where they, or a loss, are not finite: the optimiser then does nothing."""
        parameters = [one for group in optimizer.param_groups for one in group['params'] if one.grad is not None]
        self._verdict = self._decide(any_not_finite((one.grad for one in parameters), _device(self._optimizer)))
        if not any(self._verdict):
            return
        gradients = {name: one.grad for name, one in self._model.named_parameters() if one.grad is not None}
        self._gradients = names_not_finite(gradients)
        for one in parameters:
            one.grad = None

    def _decide(self, gradient: Tensor) -> tuple[bool, bool]:
        """(a loss is not finite, a gradient is not finite), the same on all ranks."""
        terms = [term for one in self._forwards for term in one.terms.values()]
        loss = ~torch.stack(terms).isfinite().all() if terms else torch.zeros_like(gradient)
        found = torch.stack([loss, gradient]).int()
        if is_distributed():
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        loss, gradient = found.tolist()  # waits for the device
        return bool(loss), bool(gradient)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Undo, count and report a step that was skipped."""
        if not self._handles or not self._optimizer.should_update():
            return
        if self._verdict is None:  # the scaler of AMP has not called the optimiser
            self._verdict = self._decide(torch.ones((), dtype=torch.bool, device=_device(self._optimizer)))
        self._optimizer.skipped = any(self._verdict)  # the teacher's hook asks for it
        if any(self._verdict):
            self._buffers.restore()
            self._skipped(runner)
        elif self._counts['consecutive']:
            self._count(runner, consecutive=0)
        self._forwards = []

    def _skipped(self, runner: Runner) -> None:
        loss, _ = self._verdict
        counts = self._counts
        if not loss and _scale_will_fall(self._optimizer):
            self._count(runner, overflows=counts['overflows'] + 1)
            return
        self._count(runner, skipped=counts['skipped'] + 1, consecutive=counts['consecutive'] + 1)
        stops = counts['consecutive'] == self.max_consecutive or counts['skipped'] == self.max_total
        bad = next((one for one in self._forwards if bool(any_not_finite(one.terms.values()))), self._forwards[-1])
        diagnosis = diagnose(self._model, self._optimizer, bad, self._verdict, self._gradients)
        saved = self._save(runner, diagnosis) if stops or counts['saved'] < self.max_files else None
        print_log(f'iteration {runner.iter}: {diagnosis.line()}. The step was skipped ({counts["consecutive"]} in a '
                  f'row, {counts["skipped"]} in all){f"; its inputs are in {saved}" if saved else ""}',
                  'current', logging.WARNING)
        if stops:
            raise NonFiniteError(last_words(diagnosis, counts, runner.iter, saved, _config(runner)))

    def _count(self, runner: Runner, **values: int) -> None:
        """Counts are logged, and part of checkpoints."""
        self._counts.update(values)
        runner.message_hub.update_info(KEY, dict(self._counts))
        for name in ('skipped', 'overflows'):
            if self._counts[name]:
                runner.message_hub.update_scalar(f'train/{KEY}/{name}', self._counts[name])

    def _save(self, runner: Runner, diagnosis: Diagnosis) -> Path | None:
        """Keep the step's inputs; a disk that does not take them is no reason to stop."""
        if not self.max_files:
            return None
        self._count(runner, saved=self._counts['saved'] + 1)
        rank = get_rank()
        path = _folder(runner) / f'iter_{runner.iter}{f"_rank{rank}" if rank else ""}.pth'
        progress = getattr(self._model, 'progress', None)
        for one in self._forwards:
            if progress is not None:
                one.progress = (one.iteration, progress.max_iters, progress.seed)
        try:
            save_evidence(
                path, self._forwards, self._model, rank=rank, world_size=get_world_size(), seed=runner.seed,
                max_iters=runner.max_iters, found=packed(vars(diagnosis)), loss_scale=_loss_scale(self._optimizer),
                metainfo=packed(getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}))
            if self.save_weights and rank == 0:
                save_checkpoint(dict(state_dict=self._model.state_dict(), meta=dict(iter=runner.iter)),
                                str(path.with_name(f'{path.stem}_weights.pth')))
        except OSError as error:
            print_log(f'the inputs of this step could not be saved: {error}', 'current', logging.WARNING)
            return None
        return path


def _scale_will_fall(optimizer: OptimWrapper) -> bool:
    """Whether an overflow is the loss scale's own affair: it is dynamic, and has not fallen below 1."""
    scaler = getattr(optimizer, 'loss_scaler', None)
    fixed = getattr(optimizer, '_scale_update_param', None) is not None
    return scaler is not None and scaler.is_enabled() and not fixed and scaler.get_scale() >= 1


def _loss_scale(optimizer: OptimWrapper) -> float:
    scaler = getattr(optimizer, 'loss_scaler', None)
    return 1.0 if scaler is None else scaler.get_scale()


def _device(optimizer: OptimWrapper) -> torch.device:
    return optimizer.param_groups[0]['params'][0].device


def _folder(runner: Runner) -> Path:
    return Path(runner.work_dir) / KEY


def _config(runner: Runner) -> Path:
    """The config as the Runner has written it, with all options."""
    return Path(runner.work_dir) / Path(runner.cfg.filename or f'{runner.timestamp}.py').name
