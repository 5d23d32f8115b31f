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
from .uda_hook import unwrap_model

KEY = 'collapse'
ADVICE = (
    'A training seldom recovers: resume from an earlier checkpoint and check the pictures of LiveViewHook. Remedies: '
    'a lower learning rate or a longer warm-up; weights trained on the source (load_from); a slower teacher '
    '(model.teacher.alpha=0.999); a higher model.pseudo_labels.threshold; mixing across domains (DACS, CAMix) instead '
    'of plain pseudo-labels; model.pseudo_labels.align with a prior.')


@HOOKS.register_module()
class CollapseHook(Hook):
    """Logs variety and confidence of the pseudo-labels, and warns where they collapse to few classes.

    Every ``interval`` iterations, smoothed, and summed over all processes:

    - ``pseudo/classes``: effective number of classes, exp(entropy of their frequencies);
    - ``pseudo/source_classes``: the same of the source's ground truth, for comparison;
    - ``pseudo/confident``: share of pixels whose confidence reaches the pseudo-labeller's threshold;
    - ``pseudo/agreement``: share of the target pixels in the student's (augmented) views where its class is the
      teacher's.

    With the variety r = (classes - 1) / (source_classes - 1), a measurement is suspicious if r < ``few``, or if
    r < ``half`` while ``confident`` > ``sure`` or ``agreement`` > ``echo``: few classes, contradicted by nothing. The
    hook warns after ``patience`` suspicious measurements in a row, and again only after as many healthy ones.

    No network runs for it: it measures what the step has computed, at the resolution of the logits.
    tools/train.py adds it to every adapted model; ``default_hooks.collapse=None`` removes it.

    Args:
        interval: iterations between two measurements.
        momentum: of the smoothing, per measurement.
        patience: number of measurements.
        few: variety below which too few classes are left.
        half: variety below which high confidence is suspicious.
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
        """Start, with the state of a resumed training."""
        self.after_train(runner)
        model = unwrap_model(runner.model)
        if getattr(model, 'pseudo_labels', None) is None:
            return
        self._tap = StepTap(model)
        self._state = dict(mean=None, suspicious=0, healthy=0, warned=False) | (runner.message_hub.get_info(KEY) or {})

    def after_train(self, runner: Runner) -> None:
        """Detach from the model."""
        if self._tap is not None:
            self._tap.close()
        self._tap = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Request the step if a measurement is due."""
        if self._tap is not None and self.every_n_train_iters(runner, self.interval):
            self._tap.request()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Measure the step, log, and warn."""
        step = self._tap and self._tap.take()
        if step is None or getattr(runner.optim_wrapper, 'skipped', False):
            return
        model = unwrap_model(runner.model)
        counts = measure(step, model.views, model.pseudo_labels.threshold)
        all_reduce(counts)
        reading = self._smooth(counts.cpu())
        for name in ('classes', 'source_classes', 'confident', 'agreement'):
            if not math.isnan(value := getattr(reading, name)):
                runner.message_hub.update_scalar(f'train/pseudo/{name}', value)
        self._judge(runner, reading)
        runner.message_hub.update_info(KEY, dict(self._state))

    def _smooth(self, counts: torch.Tensor) -> Reading:
        mean = self._state['mean']
        if mean is not None:
            counts = self.momentum * torch.tensor(mean, dtype=torch.float64) + (1 - self.momentum) * counts
        self._state['mean'] = counts.tolist()
        return Reading.of(counts)

    def symptoms(self, reading: Reading) -> list[str]:
        """Signs of a collapse, in words; [] in a healthy training."""
        if reading.source_classes < 1.2:  # a single class: nothing to compare with
            return []
        variety = (reading.classes - 1) / (reading.source_classes - 1)
        checks = {'few classes are left': variety < self.few,
                  'few classes, and nearly every pixel is confident':
                      variety < self.half and reading.confident > self.sure,
                  'few classes, and the student only repeats the teacher':
                      variety < self.half and reading.agreement > self.echo}
        return [text for text, holds in checks.items() if holds]

    def _judge(self, runner: Runner, reading: Reading) -> None:
        state, symptoms = self._state, self.symptoms(reading)
        state['suspicious'] = state['suspicious'] + 1 if symptoms else 0
        state['healthy'] = 0 if symptoms else state['healthy'] + 1
        if state['healthy'] >= self.patience:
            state['warned'] = False
        if state['suspicious'] >= self.patience and not state['warned']:
            state['warned'] = True
            print_log(_warning(runner, reading, symptoms), 'current', logging.WARNING)


def _warning(runner: Runner, reading: Reading, symptoms: list[str]) -> str:
    classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
    name = classes[reading.top_class] if classes else f'class {reading.top_class}'
    agreement = '' if math.isnan(reading.agreement) else f', student and teacher agree on {reading.agreement:.0%}'
    return (
        f'iteration {runner.iter}: the pseudo-labels seem to collapse ({"; ".join(symptoms)}). {name} makes up '
        f'{reading.top_share:.0%} of them, they have {reading.classes:.1f} effective classes where the source '
        f'has {reading.source_classes:.1f}, {reading.confident:.0%} of the pixels are confident{agreement}. {ADVICE}')
