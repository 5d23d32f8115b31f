"""How the throughput grows with the number of processes."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import torch.multiprocessing
from mmengine.config import Config
from torch import distributed

from .timing import CLOCKS, Training


@dataclass
class Throughput:
    """Images a second for each number of processes, one value for each round."""

    images: dict[str, list[float]]
    threads: int
    clock: str = 'wall'

    def table(self) -> str:
        """As Markdown; ratios of the same round."""
        first, *_ = self.images
        rows = [f'| {name} | {self.ratio(name):.2f} |' for name in self.images]
        return '\n'.join([f'| processes | images a second, of {first} |', '|---|---:|', *rows, '',
                          f'{first}: {median(self.images[first]):.1f} images of each domain a second '
                          f'(CPU, {os.cpu_count()} cores, {self.threads} thread(s) a process, {self.clock} clock)'])

    def ratio(self, name: str) -> float:
        """To the first row, the median over the rounds."""
        first = next(iter(self.images.values()))
        return median(own / alone for own, alone in zip(self.images[name], first))


def compare_processes(cfg: Config, counts: Sequence[int] = (1, 2), steps: int = 10, warmup: int = 3,
                      rounds: int = 3, clock: str = 'wall') -> Throughput:
    """Train with so many processes in turns, each with its own and then with one common batch.

    Args:
        cfg: a config of an adapted model, with its data; its batch size is that of each process.
        counts: numbers of processes; the first is what the others are compared with.
        steps: that count, in each round.
        warmup: steps before them.
        rounds: how often all is repeated.
        clock: one of :data:`~mmseg_camix.analysis.timing.CLOCKS`; 'thread' leaves out waiting for each
            other, so that it gives the throughput that cores of their own would allow.
    """
    if torch.cuda.is_available():
        raise SystemExit('this measures processes on CPUs, which talk through gloo; with GPUs, read the time of an '
                         'iteration in the log of tools/dist_train.sh')
    images: dict[str, list[float]] = {}
    for _ in range(rounds):
        for count in counts:
            for common in (False, True) if count > 1 else (False,):
                name = f'{count}, one batch in common' if common else str(count)
                seconds = _run(cfg, count, common, steps, warmup, clock)
                images.setdefault(name, []).append(count * cfg.train_dataloader.batch_size / seconds)
    return Throughput(images, torch.get_num_threads(), clock)


def _run(cfg: Config, count: int, common: bool, steps: int, warmup: int, clock: str) -> float:
    """Seconds of a step, in a group of processes of its own."""
    cfg = copy.deepcopy(cfg)
    cfg.model.global_batch = common
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop('prefetch_factor', None)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, (count, folder, cfg, steps, warmup, torch.get_num_threads(), clock), count)
        return max(float((Path(folder) / f'{rank}.txt').read_text()) for rank in range(count))


def _work(rank: int, count: int, folder: str, cfg: Config, steps: int, warmup: int, threads: int,
          clock: str) -> None:
    import mmseg_camix  # noqa: F401  (a new process: it lets mmseg be imported)
    torch.set_num_threads(threads)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=count)
    training = Training.of(cfg)
    training.watch.clock = CLOCKS[clock]
    for index in range(warmup + steps):
        if index == warmup:
            training.watch.seconds.clear()
        training.step(index)
    totals = [sum(values) for values in zip(*(values for values in training.watch.seconds.values()))]
    (Path(folder) / f'{rank}.txt').write_text(str(median(totals)))
    distributed.barrier()
    distributed.destroy_process_group()
