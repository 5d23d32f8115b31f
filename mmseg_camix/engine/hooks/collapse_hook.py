"""The hook that watches the pseudo-labels."""

from __future__ import annotations

import logging
import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..watch.collapse import Reading, measure
from ..watch.step_tap import StepTap
from .uda_hook import unwrapped

KEY = 'collapse'
ADVICE = (
    'A training seldom recovers: go back to a checkpoint before this, and look at the pictures of LiveViewHook. What '
    'helps: a lower learning rate or a longer warm-up; weights trained on the source (load_from); a slower teacher '
    '(model.teacher.alpha=0.999); a higher model.pseudo_labels.threshold; mixing across domains (DACS, CAMix) in place '
    'of pseudo-labels alone; model.pseudo_labels.align with a prior.')


@HOOKS.register_module()
class CollapseHook(Hook):
    """Logs how varied and how sure the pseudo-labels are, and warns where they collapse to few classes.

    Every ``interval`` iterations, smoothed, and summed over all processes:

    - ``pseudo/classes``: effective number of classes, exp(entropy of their frequencies);
    - ``pseudo/source_classes``: the same of the source's ground truth, to compare with;
    - ``pseudo/confident``: share of pixels whose confidence reaches the pseudo-labeller's threshold;
    - ``pseudo/agreement``: share of target pixels, among those that the student sees within its views,
      where its class is the teacher's. The student sees them augmented.

    With the variety r = (classes - 1) / (source_classes - 1) it warns where, ``patience`` times in a row, r
    is below ``few``, or r is below ``half`` while ``confident`` exceeds ``sure`` or ``agreement`` exceeds
    ``echo``: predictions that few classes share, and that nothing contradicts any more. There is one
    warning per episode, which ends when nothing of this held ``patience`` times in a row.

    No network runs for it: it looks at what the step has computed, at the resolution of the logits.
    tools/train.py adds it to every adapted model; ``default_hooks.collapse=None`` leaves it out.

    Args:
        interval: iterations between two looks.
        momentum: of the smoothing, per look.
        patience: looks.
        few: variety below which few classes are left.
        half: variety below which sureness is suspicious.
        sure: share of confident pixels.
        echo: agreement of student and teacher.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 10, momentum: float = 0.8, patience: int = 5, few: float = 0.15,
                 half: float = 0.5, sure: float = 0.95, echo: float = 0.98) -> None:
        if interval < 1 or patience < 1 or not 0 <= momentum < 1:
            raise ValueError(f'CollapseHook: interval={interval} and patience={patience} must be at least 1, '
                             f'momentum={momentum} in [0, 1)')
        self.interval, self.momentum, self.patience = interval, momentum, patience
        self.few, self.half, self.sure, self.echo = few, half, sure, echo
        self._tap: StepTap | None = None

    def before_train(self, runner: Runner) -> None:
        """Begin, or go on where a resumed training had stopped."""
        self.after_train(runner)
        model = unwrapped(runner.model)
        if getattr(model, 'pseudo_labels', None) is None:
            return
        self._tap = StepTap(model)
        self._state = dict(mean=None, held=0, free=0, told=False) | (runner.message_hub.get_info(KEY) or {})

    def after_train(self, runner: Runner) -> None:
        """Look no longer."""
        if self._tap is not None:
            self._tap.close()
        self._tap = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Ask for the step that comes."""
        if self._tap is not None and self.every_n_train_iters(runner, self.interval):
            self._tap.want()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Look at it."""
        step = self._tap and self._tap.take()
        if step is None or getattr(runner.optim_wrapper, 'skipped', False):
            return
        model = unwrapped(runner.model)
        counts = measure(step, model.views, model.pseudo_labels.threshold)
        all_reduce(counts)
        reading = self._smoothed(counts.cpu())
        for name in ('classes', 'source_classes', 'confident', 'agreement'):
            if not math.isnan(value := getattr(reading, name)):
                runner.message_hub.update_scalar(f'train/pseudo/{name}', value)
        self._judge(runner, reading)
        runner.message_hub.update_info(KEY, dict(self._state))

    def _smoothed(self, counts: torch.Tensor) -> Reading:
        mean = self._state['mean']
        if mean is not None:
            counts = self.momentum * torch.tensor(mean, dtype=torch.float64) + (1 - self.momentum) * counts
        self._state['mean'] = counts.tolist()
        return Reading.of(counts)

    def findings(self, reading: Reading) -> list[str]:
        """What looks like a collapse; nothing in a healthy training."""
        if reading.source_classes < 1.2:  # one class alone: there is nothing to compare with
            return []
        variety = (reading.classes - 1) / (reading.source_classes - 1)
        found = []
        if variety < self.few:
            found.append('few classes are left')
        if variety < self.half and reading.confident > self.sure:
            found.append('few classes, and nearly every pixel is confident')
        if variety < self.half and reading.agreement > self.echo:
            found.append('few classes, and the student only echoes the teacher')
        return found

    def _judge(self, runner: Runner, reading: Reading) -> None:
        state, found = self._state, self.findings(reading)
        state['held'] = state['held'] + 1 if found else 0
        state['free'] = 0 if found else state['free'] + 1
        if state['free'] >= self.patience:
            state['told'] = False
        if state['held'] >= self.patience and not state['told']:
            state['told'] = True
            print_log(_warning(runner, reading, found), 'current', logging.WARNING)


def _warning(runner: Runner, reading: Reading, found: list[str]) -> str:
    classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
    name = classes[reading.commonest] if classes else f'class {reading.commonest}'
    agreement = '' if math.isnan(reading.agreement) else f', student and teacher agree on {reading.agreement:.0%}'
    return (
        f'iteration {runner.iter}: the pseudo-labels seem to collapse ({"; ".join(found)}). {name} makes up '
        f'{reading.commonest_share:.0%} of them, they have {reading.classes:.1f} effective classes where the source '
        f'has {reading.source_classes:.1f}, {reading.confident:.0%} of the pixels are confident{agreement}. {ADVICE}')
