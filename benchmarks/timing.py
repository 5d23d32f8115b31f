"""Training steps under a stop-watch."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS
from torch import Tensor

CLOCKS: dict[str, Callable[[], float]] = {'wall': time.perf_counter, 'thread': time.thread_time}


@dataclass
class StopWatch:
    """Measures the seconds of named phases, each without the phases inside it."""

    device: torch.device
    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """One value per step: the sum of a phase that occurs several times."""
    _current: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase."""
        synchronise(self.device)
        start = self.clock()
        self._inner.append(0.0)
        yield
        synchronise(self.device)
        seconds = self.clock() - start
        self._current[name] += seconds - self._inner.pop()
        self._inner[-1] += seconds

    def end_step(self) -> None:
        """Record the phases of a step."""
        for name, value in self._current.items():
            self.seconds[name].append(value)
        self._current.clear()

@dataclass
class Training:
    """A model that is trained step by step under a stop-watch."""

    model: torch.nn.Module
    optimizer: OptimWrapper
    batches: Iterator
    watch: StopWatch
    metainfo: dict

    @classmethod
    def of(cls, cfg: Config, checkpoint: str | Path | None = None, clock: str = 'wall') -> 'Training':
        """The model, data and optimiser of a config as a Runner would build them, with initial or given weights."""
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        model = MODELS.build(cfg.model).to(device)
        model.init_weights()
        if checkpoint is not None:
            load_checkpoint(model, str(checkpoint), map_location='cpu', logger='silent')
        if model.teacher is not None and model.teacher.steps_made == 0:
            model.teacher.copy_student(model.student)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        model.prepare(loader.dataset.metainfo)
        watch = StopWatch(device, CLOCKS[clock])
        return cls(model, build_optim_wrapper(model, cfg.optim_wrapper), iter(loader), watch, loader.dataset.metainfo)

    def step(self, index: int) -> Tensor:
        """Train on the next batch and return its loss."""
        model, optimizer, watch = self.model, self.optimizer, self.watch
        with watch('data'):
            batch = model.data_preprocessor(next(self.batches), True)
        model.set_progress(index, 100_000)
        model.train()
        # The stop-watch replaces the profiler to which the model names its phases.
        with optimizer.optim_context(model), patch('torch.profiler.record_function', watch):
            losses, _ = model.parse_losses(model(**batch, mode='loss'))
        with watch('backward'):
            optimizer.backward(optimizer.scale_loss(losses))
        if optimizer.should_update():
            with watch('optimiser'):
                optimizer.step()
                optimizer.zero_grad()
            with watch('EMA'):
                model.update_teacher()
        watch.end_step()
        return losses.detach()


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the number of threads on a CPU."""
    return torch.cuda.get_device_name() if device.type == 'cuda' else f'CPU, threads: {torch.get_num_threads()}'
