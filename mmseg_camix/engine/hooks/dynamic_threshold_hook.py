"""The hook that configures and logs CAMix's dynamic threshold."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmseg_camix.ops.entropy import entropy_quantiles

from ..processes import unwrap_model


@HOOKS.register_module()
class DynamicThresholdHook(Hook):
    """Sets the end of the ramp of the significance mask's threshold R(t), and logs quantiles of the entropy.

    Threshold and kept share of target pixels are logged with the losses of every step (``significance/threshold``,
    ``significance/kept``); every ``interval`` steps the hook adds quantiles of the entropy. It does nothing for a
    model without a significance mask.

    Args:
        t_max: iteration at which the ramp ends; None takes the mask's own, or the end of the training.
        interval: steps between two logs of the quantiles.
        levels: of the quantiles.
    """

    def __init__(self, t_max: int | None = None, interval: int = 50, levels: Sequence[float] = (0.1, 0.5, 0.9)) -> None:
        if t_max is not None and t_max < 1:
            raise ValueError(f'DynamicThresholdHook: t_max={t_max} must be at least 1; None is the end of the training')
        if not all(0 <= level <= 1 for level in levels):
            raise ValueError(f'DynamicThresholdHook: levels={tuple(levels)} must lie in [0, 1]')
        self.t_max, self.interval, self.levels = t_max, interval, tuple(levels)

    def before_train(self, runner: Runner) -> None:
        mask = _significance(runner)
        own = getattr(mask, 't_max', None)
        if self.t_max is not None and own is not None and own != self.t_max:
            raise ValueError(f'DynamicThresholdHook has t_max={self.t_max}, but pseudo_labels.significance has '
                             f't_max={own}; set only one of them')
        if mask is not None and self.t_max is not None:
            mask.t_max = self.t_max

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        mask = _significance(runner)
        if mask is None or mask.entropy is None or not self.every_n_train_iters(runner, self.interval):
            return
        values = entropy_quantiles(mask.entropy, self.levels).tolist()
        for level, value in zip(self.levels, values):
            runner.message_hub.update_scalar(f'train/significance/entropy_q{level * 100:.0f}', value)


def _significance(runner: Runner) -> nn.Module | None:
    return getattr(getattr(unwrap_model(runner.model), 'pseudo_labels', None), 'significance', None)
