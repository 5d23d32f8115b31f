"""What the fast options of the significance mask save, and how its mask changes with them."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmseg_camix.models.significance import SignificanceMask
from mmseg_camix.models.step import Step

from .timing import Training, device_name

# Name -> arguments of SignificanceMask that differ from the config's.
OPTIONS: dict[str, dict] = {
    '4 passes': dict(passes=4),
    '2 passes': dict(passes=2),
    '8 passes, one clean': dict(passes=8, reuse_clean=True),
    '4 passes, one clean': dict(passes=4, reuse_clean=True),
    '3 passes, one clean': dict(passes=3, reuse_clean=True),
    '2 passes, one clean': dict(passes=2, reuse_clean=True),
    'half resolution': dict(scale=0.5),
    'bf16': dict(dtype='bf16'),
    'half resolution, bf16': dict(scale=0.5, dtype='bf16'),
    'half resolution, 4 passes': dict(scale=0.5, passes=4),
    '3 passes, one clean, bf16': dict(passes=3, reuse_clean=True, dtype='bf16'),
}
EXACT, AGAIN = 'as configured', 'as configured, other noise'


@dataclass
class Overlap:
    """Counts of pixels, summed over crops: of which mask, and of both."""

    exact: int = 0
    other: int = 0
    both: int = 0
    pixels: int = 0

    def add(self, exact: Tensor, other: Tensor) -> None:
        """Two masks of the same crops, (B, H, W) bool."""
        self.exact += int(exact.sum())
        self.other += int(other.sum())
        self.both += int((exact & other).sum())
        self.pixels += exact.numel()

    @property
    def kept(self) -> float:
        """IoU of the pixels that are kept."""
        return _ratio(self.both, self.exact + self.other - self.both)

    @property
    def dropped(self) -> float:
        """IoU of the pixels that are dropped: the stricter one, since most pixels are kept."""
        neither = self.pixels - (self.exact + self.other - self.both)
        return _ratio(neither, self.pixels - self.both)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@dataclass
class Comparison:
    """Milliseconds of a DACS step, and of each option with its overlap with the exact mask."""

    dacs_ms: float
    camix_ms: float
    implied: float
    """FLOPs of a CAMix step as a multiple of a DACS step's, as torch counts them."""
    device: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    overlaps: dict[str, Overlap] = field(default_factory=dict)

    def table(self) -> str:
        """As Markdown."""
        lines = ['| significance mask | ms | DACS step and it, as DACS steps | IoU of kept | IoU of dropped | kept |',
                 '|---|---:|---:|---:|---:|---:|']
        for name, overlap in self.overlaps.items():
            ms = self.milliseconds[name]
            lines.append(f'| {name} | {ms:.1f} | {1 + ms / self.dacs_ms:.2f} | {overlap.kept:.3f} | '
                         f'{overlap.dropped:.3f} | {overlap.other / overlap.pixels:.1%} |')
        return '\n'.join([
            *lines, '', f'DACS step: {self.dacs_ms:.1f} ms. CAMix step as configured: {self.camix_ms:.1f} ms, '
            f'{self.camix_ms / self.dacs_ms:.2f} DACS steps; its FLOPs are {self.implied:.2f} times those of a '
            f'DACS step ({self.device}).'])


def compare(cfg: Config, checkpoint: str | None = None, steps: int = 10, progress: float = 0.5,
            options: dict[str, dict] | None = None) -> Comparison:
    """Time the options on the crops of a training, in turns with DACS steps, and compare their masks.

    Args:
        cfg: a config of CAMix, with its data.
        checkpoint: weights; None takes an untrained network, whose times are right but not its masks.
        steps: batches that are looked at, after one that is not counted.
        progress: share of the training, which the threshold depends on.
        options: what to try; None takes :data:`OPTIONS`.
    """
    dacs_cfg = copy.deepcopy(cfg)
    dacs_cfg.model = dict(type='DACS', segmentor=cfg.model.segmentor)
    trainings = {'DACS': Training.of(dacs_cfg), 'CAMix': Training.of(cfg)}
    # Masks are made by a network of its own: that of the timed steps goes on learning.
    looked_at = Training.of(cfg, checkpoint)
    masks = _masks(looked_at.model, cfg, OPTIONS if options is None else options)
    flops = {name: _flops(training) for name, training in trainings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in (*trainings, *masks)}
    overlaps = {name: Overlap() for name in masks if name != EXACT}
    for index in range(steps + 1):
        for name, training in trainings.items():
            training.watch.seconds.clear()
            training.step(index)
            seconds[name].append(sum(s[-1] for phase, s in training.watch.seconds.items() if phase != 'data'))
        found = dict(_significant(looked_at, masks, index, progress, seconds))
        for name, overlap in overlaps.items() if index else ():
            overlap.add(found[EXACT], found[name])
    ms = {name: 1000 * median(values[1:]) for name, values in seconds.items()}
    return Comparison(ms['DACS'], ms['CAMix'], flops['CAMix'] / flops['DACS'], device_name(looked_at.watch.device),
                      ms, overlaps={EXACT: _itself(overlaps), **overlaps})


def _masks(model: torch.nn.Module, cfg: Config, options: dict[str, dict]) -> dict[str, SignificanceMask]:
    if getattr(model.pseudo_labels, 'significance', None) is None:
        raise SystemExit(f'{cfg.model.type} has no significance mask; give a config of CAMix, or one with '
                         'model.pseudo_labels.significance=dict(passes=8)')
    configured = dict(((cfg.model.get('pseudo_labels') or {}).get('significance')) or {})
    names = {EXACT: {}, AGAIN: {}, **options}
    return {name: SignificanceMask(**{**configured, **changes}) for name, changes in names.items()}


def _itself(overlaps: dict[str, Overlap]) -> Overlap:
    exact = next(iter(overlaps.values()))
    return Overlap(exact.exact, exact.exact, exact.exact, exact.pixels)


@torch.no_grad()
def _significant(training: Training, masks: dict[str, SignificanceMask], index: int, progress: float,
                 seconds: dict[str, list[float]]) -> Iterator[tuple[str, Tensor]]:
    """The mask of each option on the next batch, (B, H, W) bool, timed."""
    model, device = training.model, training.watch.device
    batch = model.data_preprocessor(next(training.batches), True)
    model.set_progress(index, 1)
    model.train()
    step = model._begin(**batch)
    image = batch['inputs']['target']
    step.teacher, step.teacher_logits = model.teacher, model.teacher(image)
    for name, mask in masks.items():
        mask.clock = (round(1000 * progress), 1000)
        _wait(device)
        start = time.perf_counter()
        found = mask(_with_other_noise(step) if name == AGAIN else step, image)
        _wait(device)
        seconds[name].append(time.perf_counter() - start)
        yield name, found


def _with_other_noise(step: Step) -> Step:
    generator = torch.Generator(step.generator.device)
    return replace(step, generator=generator.manual_seed(step.generator.initial_seed() + 1_000_003))


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _flops(training: Training) -> int:
    """Of one step, forward and backward, as torch counts them."""
    counter = FlopCounterMode(display=False)
    with counter:
        training.step(0)
    return counter.get_total_flops()
