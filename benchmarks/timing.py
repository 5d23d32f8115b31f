"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS

from mmseg_camix.engine.testing import refuse_other_network

# Phases that run a network; everything else is overhead of the method.
NETWORK_PHASES = ('forward', 'backward')
CLOCKS: dict[str, Callable[[], float]] = {'wall': time.perf_counter, 'thread': time.thread_time}
_NOTES = {'wall': '', 'thread': "; the thread's own time, without waiting"}


@dataclass
class StopWatch:
    """Collects the seconds of each phase, waiting for the device at its borders."""

    device: torch.device
    clock: Callable[[], float] = time.perf_counter
    """What time is; on a CPU that others use too, `time.thread_time` counts this thread's own."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _current: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase: its sum where it occurs twice in a step, without the phases within it."""
        self._wait()
        start = self.clock()
        self._inner.append(0.0)
        yield
        self._wait()
        seconds = self.clock() - start
        self._current[name] += seconds - self._inner.pop()
        self._inner[-1] += seconds

    def end_step(self) -> None:
        """Close a step."""
        for name, value in self._current.items():
            self.seconds[name].append(value)
        self._current.clear()

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class StepTiming:
    """The median of each phase in milliseconds, and the peak of the memory."""

    phases: dict[str, float]
    peak_mib: float
    device: str

    @property
    def total(self) -> float:
        """Milliseconds of a step."""
        return sum(self.phases.values())

    @property
    def overhead(self) -> float:
        """Share of a step that is neither a network's forward nor its backward pass."""
        other = sum(ms for name, ms in self.phases.items() if not name.endswith(NETWORK_PHASES))
        return other / self.total

    def table(self) -> str:
        """The phases as a Markdown table."""
        rows = [f'| {name} | {ms:.1f} | {ms / self.total:.1%} |' for name, ms in self.phases.items()]
        return '\n'.join(['| phase | ms | share |', '|---|---:|---:|', *rows,
                          f'| **step** | **{self.total:.1f}** | |', '',
                          f'not a network pass: {self.overhead:.1%} of the step; '
                          f'peak memory {self.peak_mib:.0f} MiB ({self.device})'])


@dataclass
class Training:
    """A model in training, step by step, under a stop-watch."""

    model: torch.nn.Module
    optimizer: OptimWrapper
    batches: Iterator
    watch: StopWatch
    metainfo: dict
    wrapped: torch.nn.Module
    """The model in DDP, if there are several processes; else the model."""

    @classmethod
    def of(cls, cfg: Config, checkpoint: str | None = None) -> Training:
        """Model, data and optimiser of a config, as a Runner would make them; weights as they are at the start."""
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        model = MODELS.build(cfg.model).to(device)
        model.init_weights()
        if checkpoint is not None:
            _load(model, str(checkpoint))
        if model.teacher is not None and model.teacher.steps_made == 0:
            model.teacher.copy_student(model.student)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        model.prepare(loader.dataset.metainfo)
        watch = StopWatch(device)
        # Without GPUs, for which a device would have to be named.
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False) if is_distributed() else model
        return cls(model, build_optim_wrapper(model, cfg.optim_wrapper), iter(loader), watch,
                   loader.dataset.metainfo, wrapped)

    def step(self, index: int, max_iters: int = 100_000) -> None:
        """One step on the next batch."""
        model, optimizer, watch = self.model, self.optimizer, self.watch
        with watch('data'):
            batch = model.data_preprocessor(next(self.batches), True)
        model.set_progress(index, max_iters, 0 if model.global_batch else get_rank())
        model.train()
        self.passes(batch)
        if optimizer.should_update():
            with watch('optimiser'):
                optimizer.step()
                optimizer.zero_grad()
            with watch('EMA'):
                model.update_teacher()
        watch.end_step()

    def passes(self, batch: dict) -> None:
        """Forward, and one backward pass of the summed losses."""
        # The stop-watch takes the place of the profiler to which the model names its phases.
        with self.optimizer.optim_context(self.wrapped), patch('torch.profiler.record_function', self.watch):
            losses, _ = self.model.parse_losses(self.wrapped(**batch, mode='loss'))
        with self.watch('backward'):
            self.optimizer.backward(self.optimizer.scale_loss(losses))


def _load(model: torch.nn.Module, checkpoint: str) -> None:
    try:
        refuse_other_network(model, checkpoint)
    except FileNotFoundError as error:
        raise SystemExit(f'error: {error}') from error
    load_checkpoint(model, checkpoint, map_location='cpu', logger='silent')


def time_step(cfg: Config, steps: int = 20, warmup: int = 3, clock: str = 'wall') -> StepTiming:
    """Train a few real steps of a config, phase by phase.

    Args:
        cfg: a config of an adapted model, with its data.
        steps: steps that count.
        warmup: steps before them that do not.
        clock: one of :data:`CLOCKS`.
    """
    training = Training.of(cfg)
    watch = training.watch
    watch.clock = CLOCKS[clock]
    for index in range(warmup + steps):
        if index == warmup:
            watch.seconds.clear()
            _reset_peak(watch.device)
        training.step(index)
    phases = {name: 1000 * median(values) for name, values in watch.seconds.items()}
    return StepTiming(phases, _peak_mib(watch.device), device_name(watch.device) + _NOTES[clock])


def device_name(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name() if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'


def _reset_peak(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mib(device: torch.device) -> float:
    """Of the device's allocator, or of the process (its largest resident size so far) on a CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
