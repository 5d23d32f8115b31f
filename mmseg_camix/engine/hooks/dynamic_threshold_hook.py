"""The hook that drives and reports CAMix's dynamic threshold."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_camix.ops.entropy import entropy_quantiles

from .uda_hook import unwrapped


@HOOKS.register_module()
class DynamicThresholdHook(Hook):
    """Drives the threshold R(t) of the significance mask from the iteration, and logs its state.

    Threshold and kept share of target pixels are logged with every step's losses
    (``significance/threshold``, ``significance/kept``); every ``interval`` steps the hook adds
    quantiles of the entropy. A model without a significance mask is left alone.

    Args:
        t_max: iteration at which the ramp ends; None takes the mask's own, or the end of the training.
        interval: steps between two reports of the quantiles.
        levels: which quantiles.
    """

    priority = 'NORMAL'

    def __init__(self, t_max: int | None = None, interval: int = 50,
                 levels: Sequence[float] = (0.1, 0.5, 0.9)) -> None:
        if t_max is not None and t_max < 1:
            raise ValueError(f'DynamicThresholdHook: t_max={t_max} must be at least 1; None is the end of the training')
        self.t_max, self.interval, self.levels = t_max, interval, tuple(levels)

    def before_train(self, runner: Runner) -> None:
        """Two different ends of one ramp are a mistake."""
        own = getattr(_significance(runner), 't_max', None)
        if self.t_max is not None and own is not None and own != self.t_max:
            raise ValueError(f'DynamicThresholdHook has t_max={self.t_max}, but pseudo_labels.significance has '
                             f't_max={own}; give it in one place')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the clock of the threshold."""
        mask = _significance(runner)
        if mask is not None:
            mask.clock = (runner.iter, self.t_max or runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Report the entropy's quantiles."""
        mask = _significance(runner)
        if mask is None or mask.entropy is None or not self.every_n_train_iters(runner, self.interval):
            return
        values = entropy_quantiles(mask.entropy, self.levels).tolist()
        for level, value in zip(self.levels, values):
            runner.message_hub.update_scalar(f'train/significance/entropy_q{level * 100:.0f}', value)


def _significance(runner: Runner):
    return getattr(getattr(unwrapped(runner.model), 'pseudo_labels', None), 'significance', None)
