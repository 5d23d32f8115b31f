"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

# Phases that run a network; everything else is overhead of the method.
NETWORK_PHASES = ('forward', 'backward')


@dataclass
class StopWatch:
    """Collects the seconds of each phase, waiting for the device at its borders."""

    device: torch.device
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _current: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase; a phase that occurs twice in a step counts with its sum."""
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self._current[name] += time.perf_counter() - start

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


def time_step(cfg: Config, steps: int = 20, warmup: int = 3) -> StepTiming:
    """Train a few real steps of a config, phase by phase.

    Args:
        cfg: a config of an adapted model, with its data.
        steps: steps that count.
        warmup: steps before them that do not.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = MODELS.build(cfg.model).to(device)
    model.init_weights()
    model.train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    optimizer = _build_optimizer(model, cfg)
    watch = StopWatch(device)
    model.phase = watch
    batches = iter(loader)
    for index in range(warmup + steps):
        if index == warmup:
            watch.seconds.clear()
            _reset_peak(device)
        _one_step(model, optimizer, batches, watch, index)
    phases = {name: 1000 * median(values) for name, values in watch.seconds.items()}
    name = torch.cuda.get_device_name() if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    return StepTiming(phases, _peak_mib(device), name)


def _build_optimizer(model: torch.nn.Module, cfg: Config):
    from mmengine.optim import build_optim_wrapper
    return build_optim_wrapper(model, cfg.optim_wrapper)


def _one_step(model: torch.nn.Module, optimizer, batches: Iterator, watch: StopWatch, index: int) -> None:
    with watch('data'):
        batch = model.data_preprocessor(next(batches), True)
    model.set_progress(index, 100_000)
    model.train()
    with optimizer.optim_context(model):
        losses, _ = model.parse_losses(model(**batch, mode='loss'))
    with watch('backward'):
        optimizer.backward(losses)
    with watch('optimiser'):
        optimizer.step()
        optimizer.zero_grad()
    with watch('EMA'):
        model.update_teacher()
    watch.end_step()


def _reset_peak(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mib(device: torch.device) -> float:
    """Of the device's allocator, or of the process (its largest resident size so far) on a CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
