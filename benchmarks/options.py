"""What options of speed and memory cost and save, measured in turns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from mmengine.config import Config

from mmseg_camix.engine.speed import apply_options

from .timing import CLOCKS, Training, device_name

PLAIN = 'as configured'


@dataclass
class OptionCost:
    """One column of the comparison."""

    seconds: list[float] = field(default_factory=list)
    """Of an iteration without its data, one for each round."""
    peak_mib: float = 0.0
    """The most that an iteration allocates beyond what the model holds."""
    loss: float | None = None
    """Of the first iteration, on the same data and weights for all; None where a step takes several."""


@dataclass
class OptionComparison:
    """Options by name; the first is the config as it is."""

    costs: dict[str, OptionCost]
    device: str

    def time_ratio(self, name: str) -> float:
        """Of an iteration, in plain ones: the median over the rounds."""
        plain = self.costs[PLAIN].seconds
        return median(own / other for own, other in zip(self.costs[name].seconds, plain))

    def table(self) -> str:
        """As Markdown."""
        plain = self.costs[PLAIN]
        rows = [f'| {name} | {self.time_ratio(name):.2f} | {cost.peak_mib / plain.peak_mib:.2f} | '
                f'{_difference(cost.loss, plain.loss)} |' for name, cost in self.costs.items()]
        return '\n'.join(['| option | time | memory of a step | loss differs by |', '|---|---:|---:|---:|', *rows, '',
                          f'as configured: {1000 * median(plain.seconds):.0f} ms, {plain.peak_mib:.0f} MiB beyond the '
                          f'model ({self.device})'])


def _difference(loss: float | None, plain: float) -> str:
    return '' if loss is None else f'{abs(loss / plain - 1):.0e}'


def compare_options(cfg: Config, options: Sequence[str], steps: int = 10, warmup: int = 3,
                    clock: str = 'wall') -> OptionComparison:
    """Train with each option in turns, so that all meet the same load of the machine.

    Args:
        cfg: a config of an adapted model, with its data.
        options: words for ``--speed``, several of them joined by '+'.
        steps: rounds that count.
        warmup: rounds before them (in which networks are compiled).
        clock: one of :data:`~benchmarks.timing.CLOCKS`.
    """
    trainings = {name: _training(cfg, name) for name in dict.fromkeys([PLAIN, *options])}
    costs = {name: OptionCost() for name in trainings}
    device = next(iter(trainings.values())).watch.device
    for training in trainings.values():
        training.watch.clock = CLOCKS[clock]
    for index in range(warmup + steps):
        for name, training in trainings.items():
            seconds, loss = _iterate(training, index)
            if index == 0:
                costs[name].loss = loss
            if index >= warmup:
                costs[name].seconds.append(seconds)
    for name, training in trainings.items():
        costs[name].peak_mib = peak_mib(lambda training=training: _iterate(training, warmup + steps), device)
    return OptionComparison(costs, device_name(device))


def _training(cfg: Config, name: str) -> Training:
    cfg = copy.deepcopy(cfg)
    words = [] if name == PLAIN else name.split('+')
    apply_options(cfg, words)
    # Data are not what is compared, and workers would take their time from the others.
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop('prefetch_factor', None)
    torch.manual_seed(0)
    return Training.of(cfg)


def _iterate(training: Training, index: int) -> tuple[float, float | None]:
    """Seconds of an iteration without its data (a mean over those that make up a step), and its loss."""
    count, seconds, losses = training.optimizer._accumulative_counts, 0.0, []
    scale_loss = training.optimizer.scale_loss
    training.optimizer.scale_loss = lambda loss: losses.append(loss.detach()) or scale_loss(loss)
    torch.manual_seed(index)  # dropout
    for inner in range(count):
        training.watch.seconds.clear()
        training.step(index * count + inner)
        seconds += sum(values[-1] for name, values in training.watch.seconds.items() if name != 'data')
    del training.optimizer.scale_loss
    return seconds / count, float(sum(losses)) if count == 1 else None


def peak_mib(run: Callable[[], object], device: torch.device) -> float:
    """The most that ``run`` allocates at a time beyond what there was, in MiB: tensors, not the process."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [(event.start_ns(), event.nbytes()) for event in profiler.profiler.kineto_results.events()
              if event.name() == '[memory]']
    held = most = 0
    for _, size in sorted(events):
        held += size
        most = max(most, held)
    return most / 2**20
