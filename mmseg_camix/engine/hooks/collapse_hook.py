"""The hook that watches the pseudo-labels."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mmseg_camix.models.step import Step
from mmseg_camix.ops.entropy import resize_mask
from mmseg_camix.ops.pseudo import confidence_and_label

from ..processes import unwrap_model
from .step_tap import StepTap

KEY = 'collapse'
ADVICE = (
    'A training seldom recovers: resume from an earlier checkpoint and check the pictures of LiveViewHook. Remedies: '
    'a lower learning rate or a longer warm-up; weights trained on the source (load_from); a slower teacher '
    '(model.teacher.alpha=0.999); a higher model.pseudo_labels.threshold; mixing across domains (DACS, CAMix) instead '
    'of plain pseudo-labels; model.pseudo_labels.align with a prior.')


SCALARS = 4
"""Entries of :func:`measure` after the two histograms."""


@torch.no_grad()
def measure(step: Step, views: Mapping[str, nn.Module], threshold: float) -> Tensor:
    """Counts of one batch, on the device; they add up over batches and processes.

    Everything is counted at the resolution of the logits and from what the step has computed: no network runs.

    Args:
        step: with pseudo-labels and the student's passes.
        views: the model's table of views.
        threshold: confidence from which a pixel counts as confident.

    Returns:
        (2 C + 4,) float64: pixels per class in the pseudo-labels; pixels per class in the source's ground truth;
        confident pixels, pixels; target pixels where student and teacher agree, target pixels in the student's views.
    """
    logits = step.teacher_logits
    confidence, _ = confidence_and_label(logits, tuple(logits.shape[2:]), step.align_corners)
    predicted = histogram(step.views['target'].target.label, step.num_classes)
    labels = step.views['source'].targets if 'source' in step.views else ()
    source = histogram(labels[0].label, step.num_classes) if labels else torch.zeros_like(predicted)
    valid = step.valid_mask('target', step.images['target'])
    counted = torch.ones_like(confidence, dtype=torch.bool) if valid is None else resize_mask(valid, logits.shape[2:])
    confident = torch.stack([((confidence >= threshold) & counted).sum(), counted.sum()])
    return torch.cat([predicted, source, confident.double(), _agreement(step, views)])


def histogram(label: Tensor, num_classes: int, max_values: int = 1 << 16) -> Tensor:
    """Pixels per class, (C,) float64, over about ``max_values`` evenly strided pixels; void is not counted."""
    values = label.flatten()
    values = values[::math.ceil(values.numel() / max_values)]
    index = torch.where((values >= 0) & (values < num_classes), values, num_classes)  # void is one more class
    counts = torch.zeros(num_classes + 1, dtype=torch.float64, device=label.device)
    return counts.scatter_add_(0, index, torch.ones_like(index, dtype=torch.float64))[:num_classes]


def _agreement(step: Step, views: Mapping[str, nn.Module]) -> Tensor:
    """(2,): target pixels where the student's class is the teacher's, and target pixels in any of its views."""
    total = torch.zeros(2, dtype=torch.float64, device=step.teacher_logits.device)
    for name, student in step.passes.items():
        target = target_pixels(step, views, name)
        if student.logits is None or target is None:
            continue
        size = student.logits.shape[2:]
        region, label = (nn.functional.interpolate(pixels[:, None].to(torch.uint8), size=size, mode='nearest')[:, 0]
                         for pixels in target)
        counted = region.bool() & (label != step.ignore_index)
        agreed = counted & (student.logits.argmax(1) == label)
        total += torch.stack([agreed.sum(), counted.sum()])
    return total


def target_pixels(step: Step, views: Mapping[str, nn.Module], name: str) -> tuple[Tensor, Tensor] | None:
    """Where a view consists of the target only, (B, H, W) bool, and its pseudo-labels there, (B, H, W) long.

    None for a view without any of the target.
    """
    view = step.views[name]
    if name == 'target':
        return torch.ones_like(view.target.label, dtype=torch.bool), view.target.label
    if name not in views:  # another branch
        return None
    builder = views[name]
    parts = [target_pixels(step, views, part) for part in builder.reads_at(step.progress)]
    if all(part is None for part in parts):
        return None
    if len(parts) == 1:  # images may have been permuted, but only together with their labels
        return parts[0][0], view.targets[0].label
    mask = step.masks[builder.mask][:, 0]
    nothing = torch.zeros_like(mask), torch.full_like(mask, step.ignore_index, dtype=torch.long)
    inside, outside = (nothing if part is None else part for part in parts)
    if getattr(builder, 'opacity', 1) < 1:  # a blend is not the target only
        inside = nothing
    return tuple(torch.where(mask, *pair) for pair in zip(inside, outside))


def effective_classes(histogram: Tensor) -> float:
    """exp(entropy) of the class shares: n for n equally frequent classes, 1 for a single class."""
    share = histogram / histogram.sum().clamp_min(1e-12)
    return float(torch.special.xlogy(share, share).sum().neg().exp())


@dataclass(frozen=True)
class Reading:
    """Statistics of the counts of some batches."""

    classes: float
    """Effective number of classes in the pseudo-labels."""
    source_classes: float
    """Likewise in the source's ground truth of the same batches; without source, in the first pseudo-labels."""
    confident: float
    """Share of pixels whose confidence reaches the threshold."""
    agreement: float
    """Share of target pixels where student and teacher agree; NaN if no view has any."""
    top_class: int
    """The most frequent class of the pseudo-labels."""
    top_share: float

    @classmethod
    def of(cls, counts: Tensor) -> Self:
        """The statistics of the counts of :func:`measure`."""
        num_classes = (len(counts) - SCALARS) // 2
        predicted, source = counts[:num_classes], counts[num_classes:2 * num_classes]
        confident, pixels, agreed, compared = counts[2 * num_classes:].tolist()
        top = int(predicted.argmax())
        return cls(effective_classes(predicted), effective_classes(source), confident / max(pixels, 1e-12),
                   agreed / compared if compared > 0 else math.nan, top,
                   float(predicted[top] / predicted.sum().clamp_min(1e-12)))


@HOOKS.register_module()
class CollapseHook(Hook):
    """Logs variety and confidence of the pseudo-labels, and warns where they collapse to few classes.

    Every ``interval`` iterations, smoothed, and summed over all processes:

    - ``pseudo/classes``: effective number of classes, exp(entropy of their frequencies);
    - ``pseudo/source_classes``: the same of the source's ground truth, for comparison; without source, of the
      pseudo-labels of the first ``patience`` measurements;
    - ``pseudo/confident``: share of pixels whose confidence reaches the pseudo-labeller's threshold;
    - ``pseudo/agreement``: share of the target pixels in the student's (augmented) views where its class is the
      teacher's.

    With the variety r = (classes - 1) / (source_classes - 1), a measurement is suspicious if r < ``few``, or if
    r < ``half`` while ``confident`` > ``sure`` or ``agreement`` > ``echo``: few classes, contradicted by nothing. The
    hook warns after ``patience`` suspicious measurements in a row, and again only after as many healthy ones.

    No network runs for it: it measures what the step has computed, at the resolution of the logits.
    mmseg-camix train adds it to every adapted model; ``default_hooks.collapse=None`` removes it.

    Args:
        interval: iterations between two measurements.
        momentum: of the smoothing, per measurement.
        patience: number of measurements.
        few: variety below which too few classes are left.
        half: variety below which high confidence is suspicious.
        sure: share of confident pixels.
        echo: agreement of student and teacher.
    """

    def __init__(self, interval: int = 10, momentum: float = 0.8, patience: int = 5, few: float = 0.15,
                 half: float = 0.5, sure: float = 0.95, echo: float = 0.98) -> None:
        if interval < 1 or patience < 1 or not 0 <= momentum < 1:
            raise ValueError(f'CollapseHook: interval={interval} and patience={patience} must be at least 1, '
                             f'momentum={momentum} in [0, 1)')
        self.interval, self.momentum, self.patience = interval, momentum, patience
        self.few, self.half, self.sure, self.echo = few, half, sure, echo
        self._tap = StepTap()

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if getattr(model, 'pseudo_labels', None) is not None:
            self._tap.attach(model)
        self._state = dict(mean=None, suspicious=0, healthy=0, warned=False, first=None, measured=0) | (
            runner.message_hub.get_info(KEY) or {})

    def after_train(self, runner: Runner) -> None:
        self._tap.close()

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._tap.request()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        step = self._tap.take()
        if step is None or getattr(runner.optim_wrapper, 'skipped', False):
            return
        model = unwrap_model(runner.model)
        counts = measure(step, model.views, model.pseudo_labels.threshold)
        all_reduce(counts)
        counts = counts.cpu()
        reading = self._smooth(counts if 'source' in step.views else self._compared_with_first(counts))
        for name in ('classes', 'source_classes', 'confident', 'agreement'):
            if not math.isnan(value := getattr(reading, name)):
                runner.message_hub.update_scalar(f'train/pseudo/{name}', value)
        self._judge(runner, reading)
        runner.message_hub.update_info(KEY, dict(self._state))

    def _compared_with_first(self, counts: Tensor) -> Tensor:
        """The counts, with those of the first pseudo-labels instead of the source's."""
        state, size = self._state, (len(counts) - SCALARS) // 2
        if state['measured'] < self.patience:
            state['measured'] += 1
            state['first'] = [old + new for old, new in zip(state['first'] or [0.0] * size, counts[:size].tolist())]
        return torch.cat([counts[:size], torch.tensor(state['first'], dtype=torch.float64), counts[2 * size:]])

    def _smooth(self, counts: Tensor) -> Reading:
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
            print_log(_warning(runner, reading, symptoms, 'the source has' if state['first'] is None else
                               'the first ones had'), 'current', logging.WARNING)


def _warning(runner: Runner, reading: Reading, symptoms: list[str], reference: str) -> str:
    classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
    name = classes[reading.top_class] if classes else f'class {reading.top_class}'
    agreement = '' if math.isnan(reading.agreement) else f', student and teacher agree on {reading.agreement:.0%}'
    return (
        f'iteration {runner.iter}: the pseudo-labels seem to collapse ({"; ".join(symptoms)}). {name} makes up '
        f'{reading.top_share:.0%} of them, they have {reading.classes:.1f} effective classes where '
        f'{reference} {reading.source_classes:.1f}, {reading.confident:.0%} of the pixels are confident{agreement}. '
        f'{ADVICE}')
