"""Measure a few steps of trainings in a separate process: ``python -m mmseg_camix_tools.adapt.probe``.

A size that does not fit ends only this process. Writes JSON: seconds of a step of each config; for the first config
also those of the prediction of an image by one network, the memory before and at the peak of its steps, and the
seconds from the start of the process to its first step.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmseg_camix.cli import run
from mmseg_camix.engine.config import complete_for_adaptation
from mmseg_camix.files import atomic_write

STEPS = 3  # after the first, which allocates memory
PREDICTIONS = 2
OUT_OF_MEMORY = 73  # exit code


class Clock(Hook):
    """Records the time of each step, and the memory before the first."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.memory = self.memory or used_memory()
        self.times.append(time.monotonic())

    def after_train_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.monotonic())


def used_memory() -> int:
    """Bytes that this process has used at most: of the GPU where there is one, otherwise of the host."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    import resource  # not on Windows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def measure(path: str, folder: str) -> dict[str, float]:
    """Train a config for a few steps and predict two images; nothing is kept."""
    cfg = Config.fromfile(path)
    complete_for_adaptation(cfg)
    cfg.work_dir = os.path.join(folder, os.path.basename(path))
    cfg.experiment_name = os.path.basename(path)
    cfg.train_cfg.update(max_iters=STEPS + 1, val_interval=STEPS + 1)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'RecordMetricsHook']
    runner, clock = Runner.from_cfg(cfg), Clock()
    runner.register_hook(clock, 'LOWEST')
    runner.train()
    steps = [later - earlier for earlier, later in zip(clock.times[1:], clock.times[2:])]
    return dict(step=statistics.median(steps), image=_prediction_seconds(runner), begin=clock.times[0],
                before=clock.memory, peak=used_memory())


@torch.no_grad()
def _prediction_seconds(runner: Runner) -> float:
    """Seconds of the prediction of one image by one network."""
    loader = runner.build_dataloader(runner.cfg.test_dataloader)
    runner.model.eval()
    times = []
    for _, batch in zip(range(PREDICTIONS), loader):
        start = time.monotonic()
        runner.model.test_step(batch)
        times.append(time.monotonic() - start)
    return min(times)


def main() -> int:
    """Measure the configs of the command line; returns the exit code."""
    started = time.monotonic() - time.process_time()  # imports included
    out, *configs = sys.argv[1:]
    MMLogger.get_instance('mmengine', log_level='WARNING')
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = [measure(path, folder) for path in configs]
    except Exception as error:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
            return OUT_OF_MEMORY  # of a GPU, or of the host
        raise
    first = measured[0]
    atomic_write(out, json.dumps(dict(
        {key: first[key] for key in ('image', 'before', 'peak')}, start=first['begin'] - started,
        steps={Path(path).stem: entry['step'] for path, entry in zip(configs, measured)})))
    return 0


if __name__ == '__main__':
    run(main)
