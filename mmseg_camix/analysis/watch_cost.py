"""What watching a training costs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub

from mmseg_camix.engine.hooks import CollapseHook, LiveViewHook, NonFiniteHook

from .timing import Training

# What hooks do within a step, called by the model and the optimiser.
OWN = dict(nonfinite=('_before_forward', '_after_forward', '_before_step'), collapse=(), live=())


@dataclass(frozen=True)
class WatchCost:
    """Medians in milliseconds."""

    plain: float
    """A step without any watch."""
    watched: float
    """A step with NonFiniteHook, taken in turns with the above."""
    nonfinite: float
    """What NonFiniteHook itself takes of such a step."""
    collapse: float
    """One look of CollapseHook."""
    live: float
    """One picture of LiveViewHook."""

    def table(self) -> str:
        """As Markdown; shares of a step at the hooks' default intervals."""
        rows = [('a step', self.plain, 1, ''), ('the same with NonFiniteHook', self.watched, 1, ''),
                ('within NonFiniteHook', self.nonfinite, 1, f'{self.nonfinite / self.plain:.2%}'),
                ('a look of CollapseHook', self.collapse, 10, f'{self.collapse / 10 / self.plain:.2%}'),
                ('a picture of LiveViewHook', self.live, 500, f'{self.live / 500 / self.plain:.2%}')]
        lines = [f'| {name} | {ms:.2f} | {every} | {share} |' for name, ms, every, share in rows]
        return '\n'.join(['| | ms | every ... iterations | share of a step |', '|---|---:|---:|---:|', *lines])


def watch_cost(cfg: Config, rounds: int = 8, steps: int = 5) -> WatchCost:
    """Train some steps, in turns with and without the watches.

    On a CPU it is the process's own time that counts, so that other programs disturb less.

    Args:
        cfg: a config of an adapted model, with its data.
        rounds: turns of each kind.
        steps: of a turn; the first of each does not count.
    """
    with TemporaryDirectory() as folder:
        bench = _Bench(Training.of(cfg), folder)
        for _ in range(rounds):
            bench.turn('plain', [], steps)
            bench.turn('watched', ['nonfinite'], steps)
            bench.turn('shown', ['collapse', 'live'], 2)
    found = {name: 1000 * median(values) for name, values in bench.seconds.items()}
    return WatchCost(found['plain'], found['watched'], found['nonfinite'], found['collapse'], found['live'])


class _Bench:
    """Steps of a training with some hooks, as a Runner calls them, under a clock."""

    def __init__(self, training: Training, folder: str) -> None:
        self.training = training
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.cuda = next(training.model.parameters()).is_cuda
        self.hooks: dict[str, Hook] = dict(
            nonfinite=NonFiniteHook(), collapse=CollapseHook(interval=1), live=LiveViewHook(interval=1))
        self._spent: dict[str, float] = defaultdict(float)
        for name, hook in self.hooks.items():
            for method in ('before_train_iter', 'after_train_iter', *OWN[name]):
                setattr(hook, method, self._timed(getattr(hook, method), name))
        self.runner = SimpleNamespace(
            model=training.model, optim_wrapper=training.optimizer, message_hub=MessageHub('cost'), iter=0, seed=0,
            max_iters=100_000, rank=0, work_dir=folder, visualizer=None,
            train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=training.metainfo)))

    def turn(self, kind: str, names: list[str], steps: int) -> None:
        """Some steps with some of the hooks."""
        for name in names:
            self.hooks[name].before_train(self.runner)
        for index in range(steps):
            self._spent.clear()
            total = self._step(names)
            if index > 0:
                self.seconds[kind].append(total)
                for name in names:
                    self.seconds[name].append(self._spent[name])
        for name in names:
            self.hooks[name].after_train(self.runner)

    def _step(self, names: list[str]) -> float:
        """Seconds of one step; fetching data is not counted."""
        runner, model = self.runner, self.training.model
        batch = next(self.training.batches)
        model.set_progress(runner.iter, runner.max_iters)
        model.train()
        start = self._now()
        for name in names:
            self.hooks[name].before_train_iter(runner, runner.iter, batch)
        log = model.train_step(batch, runner.optim_wrapper)
        for name in names:
            self.hooks[name].after_train_iter(runner, runner.iter, batch, log)
        model.update_teacher()
        runner.iter += 1
        return self._now() - start

    def _timed(self, function: Callable, name: str) -> Callable:
        def timed(*args: object) -> object:
            start = self._now()
            result = function(*args)
            self._spent[name] += self._now() - start
            return result
        return timed

    def _now(self) -> float:
        if not self.cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()
