"""The hook that keeps NaN and infinities out of the weights."""

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mmseg_camix.checkpoint import save_checkpoint

from ..nonfinite import (
    BufferSnapshot,
    Forward,
    NonFiniteError,
    any_not_finite,
    describe_step,
    loss_terms,
    names_not_finite,
    plain_batch,
)
from ..processes import unwrap_model

KEY = 'nonfinite'


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Skips and counts steps whose loss or gradients are not finite; stops after too many.

    A skipped step changes nothing: the optimiser gets no gradients, so weights and moments stay; the teacher does
    not move; running statistics and memory banks are restored. With gradient accumulation all forward passes of the
    step are dropped. All processes decide alike. Learning rate schedules continue, for they count iterations.

    With a dynamic loss scale (AMP) overflows are expected: they are counted separately (``nonfinite/overflows``) and
    are no failures until the scale falls below 1.

    Before every checkpoint all weights and buffers are checked, those of the teacher included: a checkpoint that
    is not finite is not written, and the training stops.

    It works for any model of mmengine, adapted or not. One check per step waits for the device, before the
    optimiser. mmseg-camix train adds this hook to every adapted model; ``default_hooks.nonfinite=None`` removes it,
    ``default_hooks.nonfinite.max_total=20`` sets an argument.

    Args:
        max_consecutive: limit of consecutive skipped steps; None disables it.
        max_total: limit of skipped steps in total; None disables it.
        save_batch: whether the batch of the first skipped step is written to ``<work_dir>/nonfinite/iter_N.pth``.
    """

    priority = 'HIGH'

    def __init__(self, max_consecutive: int | None = 10, max_total: int | None = 100, save_batch: bool = True) -> None:
        for name, value in (('max_consecutive', max_consecutive), ('max_total', max_total)):
            if value is not None and value < 1:
                raise ValueError(f'NonFiniteHook: {name}={value} must be at least 1; None disables the limit')
        self.max_consecutive, self.max_total, self.save_batch = max_consecutive, max_total, save_batch
        self._handles: list = []

    def before_train(self, runner: Runner) -> None:
        self.after_train(runner)
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            print_log(f'NonFiniteHook does not support {type(wrapper).__name__}: no step is skipped', 'current',
                      logging.WARNING)
            return
        self._model = unwrap_model(runner.model)
        self._wrapper = wrapper
        self._counts = dict(skipped=0, consecutive=0, overflows=0) | (runner.message_hub.get_info(KEY) or {})
        self._buffers = BufferSnapshot(self._model)
        self._forwards: list[Forward] = []
        self._handles = [self._model.register_forward_hook(self._after_forward, with_kwargs=True),
                         wrapper.optimizer.register_step_pre_hook(self._before_step)]

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if names := names_not_finite(checkpoint['state_dict']):
            raise NonFiniteError(
                f'no checkpoint was written at iteration {checkpoint["meta"]["iter"]}: {len(names)} of its tensors are '
                f'not finite, first {names[0]}. Earlier checkpoints are kept: resume from one of them with a lower '
                'learning rate')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if not self._handles:
            return
        if not self._forwards:  # the first of the passes whose gradients are accumulated
            self._buffers.take()
            self._verdict: tuple[bool, bool] | None = None
            self._gradients: list[str] = []
        self._forwards.append(Forward(runner.iter, data_batch))

    def _after_forward(self, model: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
        if kwargs.get('mode') == 'loss' and self._forwards:
            self._forwards[-1].losses = loss_terms(output)
            self._forwards[-1].autocast = _autocast_dtype(_device(self._wrapper))

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        """Drop all gradients if they, or a loss, are not finite: the optimiser then does nothing."""
        parameters = [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        self._verdict = self._decide(any_not_finite((p.grad for p in parameters), _device(self._wrapper)))
        if any(self._verdict):
            self._gradients = names_not_finite(
                {name: p.grad for name, p in self._model.named_parameters() if p.grad is not None})
            for parameter in parameters:
                parameter.grad = None

    def _decide(self, bad_gradient: Tensor) -> tuple[bool, bool]:
        """(a loss is not finite, a gradient is not finite), the same in all processes."""
        losses = [loss for forward in self._forwards for loss in forward.losses.values()]
        bad_loss = ~torch.stack(losses).isfinite().all() if losses else torch.zeros_like(bad_gradient)
        verdict = torch.stack([bad_loss, bad_gradient]).int()
        all_reduce(verdict, 'max')
        loss, gradient = verdict.tolist()  # waits for the device
        return bool(loss), bool(gradient)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if not self._handles or not self._wrapper.should_update():
            return
        if self._verdict is None:  # the loss scaler did not call the optimiser
            self._verdict = self._decide(torch.ones((), dtype=torch.bool, device=_device(self._wrapper)))
        self._wrapper.skipped = any(self._verdict)  # read by has_stepped
        if any(self._verdict):
            self._buffers.restore()
            self._skip(runner)
        elif self._counts['consecutive']:
            self._count(runner, consecutive=0)
        self._forwards = []

    def _skip(self, runner: Runner) -> None:
        counts, bad_loss = self._counts, self._verdict[0]
        if not bad_loss and _scale_will_fall(self._wrapper):
            self._count(runner, overflows=counts['overflows'] + 1)
            return
        self._count(runner, skipped=counts['skipped'] + 1, consecutive=counts['consecutive'] + 1)
        forward = next((f for f in self._forwards if bool(any_not_finite(f.losses.values()))), self._forwards[-1])
        line, details = describe_step(self._model, self._wrapper, forward, self._verdict, self._gradients)
        saved = self._save(runner, forward) if self.save_batch and counts['skipped'] == 1 else ''
        times = f'{counts["consecutive"]} in a row, {counts["skipped"]} in total'
        print_log(f'iteration {runner.iter}: {line}. The step was skipped ({times}){saved}', 'current', logging.WARNING)
        if counts['consecutive'] == self.max_consecutive or counts['skipped'] == self.max_total:
            raise NonFiniteError(
                f'stopped at iteration {runner.iter}: steps whose loss or gradients are not finite: {times}. None of '
                f'them changed a weight. The last one:\n{details}')

    def _count(self, runner: Runner, **values: int) -> None:
        # Logged, and saved in checkpoints.
        self._counts.update(values)
        runner.message_hub.update_info(KEY, dict(self._counts))
        for name in ('skipped', 'overflows'):
            if self._counts[name]:
                runner.message_hub.update_scalar(f'train/{KEY}/{name}', self._counts[name])

    def _save(self, runner: Runner, forward: Forward) -> str:
        """Write the batches of the step, and the losses of one pass; returns a note for the log."""
        rank = get_rank()
        path = Path(runner.work_dir) / KEY / f'iter_{runner.iter}{f"_rank{rank}" if rank else ""}.pth'
        content = dict(iterations=[forward.iteration for forward in self._forwards], seed=runner.seed, rank=rank,
                       losses={name: float(loss) for name, loss in forward.losses.items()},
                       batches=[plain_batch(forward.batch) for forward in self._forwards])
        try:
            save_checkpoint(content, str(path))
        except OSError as error:
            return f'; its batch could not be written to {path}: {error}'
        return f'; its batch is in {path}'


def _scale_will_fall(wrapper: OptimWrapper) -> bool:
    """Whether the loss scaler handles overflows: the scale is dynamic and has not fallen below 1."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    fixed = getattr(wrapper, '_scale_update_param', None) is not None
    return scaler is not None and scaler.is_enabled() and not fixed and scaler.get_scale() >= 1


def _autocast_dtype(device: torch.device) -> str | None:
    """The type to which operations on the device are cast here; None without mixed precision."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return str(torch.get_autocast_dtype(device.type)).removeprefix('torch.')


def _device(wrapper: OptimWrapper) -> torch.device:
    return wrapper.param_groups[0]['params'][0].device
