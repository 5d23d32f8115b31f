"""The measurements of benchmarks/accelerator.py, each run in a separate process.

Results are written to a file in ACCELERATOR_FOLDER after each measurement, so that they survive a time limit.
"""

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from mmseg_camix import cli
from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.speed import apply_options
from mmseg_camix.files import atomic_write
from mmseg_camix.ops.global_batch import BatchGenerator

from .step import timing_of
from .timing import Training, synchronise

MINIATURE = 'configs/dacs/mini_gta2cs_tiny.py'
MODES = {'fp32': [], 'TF32': [], 'bf16': ['amp=bf16'], 'bf16, channels_last': ['amp=bf16', 'channels_last'],
         'bf16, channels_last, compile': ['amp=bf16', 'channels_last', 'compile'],
         'bf16, backward=each': ['amp=bf16', 'backward=each'],
         'bf16, checkpointing': ['amp=bf16', 'checkpointing']}


def save(args: argparse.Namespace, results: object) -> None:
    """Write the results so far."""
    atomic_write(Path(os.environ['ACCELERATOR_FOLDER']) / args.results, json.dumps(results) + '\n')


def configured(path: str, data_root: str, options: Mapping[str, Any] | None = None,
               speed: Sequence[str] = ()) -> Config:
    """A config on the miniature data, with random weights."""
    cfg = load_config(path, {'data_root': data_root, **(options or {})})
    cfg.model.segmentor.backbone.init_cfg = None
    source = cfg.train_dataloader.dataset.source
    if 'stats' in source:  # of the full data set
        source.stats = None
    prior = Path(data_root) / 'priors' / 'gta.npz'
    for mask in (cfg.model.get('masks') or {}).values():
        if 'prior' in mask:
            mask.prior = str(prior)
    target = cfg.train_dataloader.dataset.target
    if not any(step['type'] == 'Resize' for step in target.pipeline):  # native resolution, which drawings do not have
        height, width = cfg.crop_size
        target.pipeline.insert(1, dict(type='Resize', scale=(2 * width, height)))
    cfg.train_dataloader.num_workers, cfg.train_dataloader.persistent_workers = min(8, os.cpu_count() or 1), True
    apply_options(cfg, speed)
    return cfg


def steps(args: argparse.Namespace) -> None:
    """Time, memory and share of non-network work of a config in each mode."""
    cuda = args.device == 'cuda'
    results: dict[str, dict] = {}
    for mode, speed in MODES.items():
        if not cuda and mode not in ('fp32', 'bf16'):
            continue
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode != 'fp32'
        try:
            cfg = configured(args.config, args.data_root, args.cfg_options, speed)
            training = Training.of(cfg)
            results[mode] = speed_of(training, 2 * cfg.train_dataloader.batch_size, *((10, 4) if cuda else (1, 1)))
        except Exception as error:  # out of memory, or a compiler that fails: the other modes count
            results[mode] = dict(error=f'{type(error).__name__}: {error}'[:300])
        save(args, results)
        training = None
        gc.collect()
        torch.cuda.empty_cache()


def speed_of(training: Training, images: int, count: int, warmup: int) -> dict:
    """Phases of a step of `images` images, then its time without the stop-watch's waiting between phases."""
    phases = timing_of(training, count, warmup)
    device, training.watch.device = training.watch.device, torch.device('cpu')
    synchronise(device)
    start = time.perf_counter()
    for index in range(count):
        training.step(warmup + count + index)
    synchronise(device)
    seconds = (time.perf_counter() - start) / count
    return dict(step_ms=round(1000 * seconds, 2), images_per_s=round(images / seconds, 2),
                peak_gib=round(phases.peak_mib / 1024, 2), overhead=round(phases.overhead, 4),
                phases={name: round(ms, 2) for name, ms in phases.phases.items()})


def agreement(args: argparse.Namespace) -> None:
    """The losses of 20 steps on the host and on the device, from the same weights, batches and random numbers."""
    count, losses = 20 if args.device == 'cuda' else 3, {}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for device in ('cpu', args.device):
        torch.manual_seed(0)
        with patch('benchmarks.timing.torch.cuda.is_available', return_value=device == 'cuda'), \
                patch('mmseg_camix.models.uda.algorithm.BatchGenerator', lambda *device: BatchGenerator()), \
                patch('mmseg_camix.ops.global_batch.torch.rand', drawn_on_host(torch.rand)), \
                patch('mmseg_camix.ops.global_batch.torch.randn', drawn_on_host(torch.randn)):
            training = Training.of(configured(MINIATURE, args.data_root))
            losses[device, len(losses)] = [float(training.step(index)) for index in range(count)]
    (first, second) = losses.values()
    differences = [abs(a - b) / max(abs(a), 1e-12) for a, b in zip(first, second)]
    save(args, dict(steps=count, largest_relative_difference=max(differences), agrees=max(differences) < 1e-4,
              per_step=[float(f'{value:.3g}') for value in differences]))


def drawn_on_host(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.rand or torch.randn that draws where the generator is, so that two devices receive the same numbers."""
    def drawn(*shape: Any, generator: torch.Generator | None = None, device: torch.device | None = None,
              **options: Any) -> Tensor:
        if generator is None:
            return draw(*shape, device=device, **options)
        return draw(*shape, generator=generator, device=generator.device, **options).to(device or generator.device)

    return drawn


def synchronisation(args: argparse.Namespace) -> None:
    """Whether the host waits for the device between the batch and the end of the step, by method."""
    results = {}
    for name in ('dacs', 'camix', 'dsp', 'rccr'):
        training = Training.of(configured(f'configs/{name}/mini_gta2cs_tiny.py', args.data_root))
        training.watch.device = torch.device('cpu')
        training.step(0)
        if args.device == 'cuda':
            torch.cuda.set_sync_debug_mode('error')
        try:
            training.step(1)
            results[name] = 'never waits' if args.device == 'cuda' else 'not measured on a CPU'
        except RuntimeError as error:
            results[name] = str(error)[:300]
        finally:
            if args.device == 'cuda':
                torch.cuda.set_sync_debug_mode('default')
        save(args, results)


def float16(args: argparse.Namespace) -> None:
    """The mean loss of the last steps, in fp32 and in fp16 with a scaled loss."""
    count, results = 200 if args.device == 'cuda' else 2, {}
    for name, speed in (('fp32', []), ('fp16', ['amp=fp16' if args.device == 'cuda' else 'amp=bf16'])):
        torch.manual_seed(0)
        training = Training.of(configured(MINIATURE, args.data_root, speed=speed))
        training.watch.device = torch.device('cpu')
        losses = [float(training.step(index)) for index in range(count)]
        results[name] = dict(first=losses[0], last=sum(losses[-20:]) / len(losses[-20:]))
        save(args, results)


def trace(args: argparse.Namespace) -> None:
    """The share of the time in which the device is busy, and the operators that take most of it."""
    cuda = args.device == 'cuda'
    config = 'configs/dacs/gta2cs_deeplabv2.py' if cuda else MINIATURE
    training = Training.of(configured(config, args.data_root, speed=['amp=bf16'] if cuda else []))
    training.watch.device = torch.device('cpu')
    count = 5 if cuda else 1
    for index in range(3 if cuda else 1):
        training.step(index)
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    synchronise(next(training.model.parameters()).device)
    with torch.profiler.profile(activities=activities) as profile:
        start = time.perf_counter()
        for index in range(count):
            training.step(10 + index)
        synchronise(next(training.model.parameters()).device)
        seconds = time.perf_counter() - start
    of_device = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    busy_s = covered([(event.time_range.start, event.time_range.end) for event in of_device]) / 1e6
    key = 'self_device_time_total' if cuda else 'self_cpu_time_total'
    table = sorted(profile.key_averages(), key=lambda row: -getattr(row, key))[:10]
    save(args, dict(config=config, step_ms=1000 * seconds / count, device_busy=busy_s / seconds if cuda else None,
              operators=[[row.key[:80], round(getattr(row, key) / 1000 / count, 3)] for row in table]))


def covered(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    total, end = 0.0, float('-inf')
    for begin, stop in sorted(intervals):
        total += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    return total


def loading(args: argparse.Namespace) -> None:
    """Images per second of the data loader, with and without the cache, for several numbers of workers."""
    cuda, results = args.device == 'cuda', {}
    config = 'configs/dacs/gta2cs_deeplabv2.py' if cuda else MINIATURE
    options = [f'train_dataloader.dataset.{branch}.cache={args.data_root}/cache' for branch in ('source', 'target')]
    subprocess.run([sys.executable, 'tools/dataset/build_cache.py', config, '--cfg-options',
                    f'data_root={args.data_root}', *options], check=True)
    for cached in (False, True):
        for workers in (1, 4, 8) if cuda else (1,):
            cfg = load_config(config, {'data_root': args.data_root})
            if cached:
                cfg.merge_from_dict(dict(option.split('=', 1) for option in options))
            cfg.train_dataloader.num_workers = workers
            init_default_scope('mmseg')
            loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
            batches, count = iter(loader), 60 if cuda else 2
            for _ in range(2 * workers):
                next(batches)
            start = time.perf_counter()
            for _ in range(count):
                next(batches)
            images = count * 2 * cfg.train_dataloader.batch_size
            results[f'{workers} workers, {"cache" if cached else "no cache"}'] = round(
                images / (time.perf_counter() - start), 1)
            save(args, results)
            del batches, loader


def two_processes(args: argparse.Namespace) -> None:
    """Whether two processes train on one device, with SyncBN (which a CPU does not have), by backend."""
    results = {}
    for backend in ('gloo', 'nccl') if args.device == 'cuda' else ('gloo',):
        with tempfile.TemporaryDirectory() as folder:
            options = ['max_iters=2', 'train_cfg.max_iters=2', 'train_cfg.val_interval=100',
                       f'data_root={args.data_root}', f'env_cfg.dist_cfg.backend={backend}',
                       'train_dataloader.num_workers=1', *(['sync_bn=torch'] if args.device == 'cuda' else [])]
            environment = {**os.environ, 'PORT': '29611', 'PYTHON': sys.executable}
            if args.device == 'cuda':
                environment['CUDA_VISIBLE_DEVICES'] = os.environ.get('CUDA_VISIBLE_DEVICES', '0').split(',')[0]
            result = subprocess.run(['tools/dist_train.sh', MINIATURE, '2', '--work-dir', folder, '--cfg-options',
                                     *options], env=environment, capture_output=True, text=True, check=False)
        errors = re.findall(r'^(?:\[rank\d\]: )?((?:\w+\.)*\w*Error: .*)', result.stderr, re.MULTILINE)
        results[backend] = 'trains' if result.returncode == 0 else (errors or ['failed'])[0][:300]
        save(args, results)


PARTS = {function.__name__.replace('_', '-'): function for function in
         (steps, agreement, synchronisation, float16, trace, loading, two_processes)}


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('part', choices=list(PARTS))
    parser.add_argument('--config', default=MINIATURE, help='of `steps` (default: %(default)s)')
    parser.add_argument('--device', choices=['cuda', 'cpu'], required=True)
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--results', required=True, metavar='FILE', help='name of the file in ACCELERATOR_FOLDER')
    cli.add_config_options(parser)
    args = parser.parse_args()
    PARTS[args.part](args)


if __name__ == '__main__':
    cli.run(main)
