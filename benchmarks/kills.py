"""Kill a small CAMix training (SIGKILL) many times, resume it, and compare its end with an undisturbed one.

Weights, optimiser, schedules, curves, best score and metrics are compared bit by bit. Runs on the CPU, about 20
minutes for 50 kills; needs data/mini and its spatial prior.

examples:
  python -m benchmarks.kills
  python -m benchmarks.kills --kills 10 --seed 1 --work-dir work_dirs/kills_1
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import re
import runpy
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mmseg_camix import cli
from mmseg_camix.checkpoint import find_latest_checkpoint

from .same_run import differences
from .tables import markdown

CONFIG = 'configs/camix/mini_gta2cs_tiny.py'
TRAIN_TOOL = Path(__file__).parents[1] / 'tools' / 'train.py'
ITERATION = re.compile(r'Iter\(train\) \[ *(\d+)/')
KINDS = dict(start=0.1, step=0.5, save=0.4)  # shares of the kills; 'save' waits for a checkpoint being written
MAX_SECONDS = 900  # a process that takes longer hangs


@dataclass(frozen=True)
class Kill:
    """One kill of a training."""

    kind: str
    iteration: int  # the last one in the log
    unfinished: str | None  # the half-written checkpoint that was left behind
    resumes_at: int


class Process:
    """A training in a process group of its own, whose log is followed.

    Args:
        arguments: arguments of tools/train.py.
        folder: work folder; the output is appended to a file beside it.
        fresh: start a new interpreter. Otherwise fork this process, which has imported the libraries already.
    """

    def __init__(self, arguments: list[str], folder: Path, fresh: bool = False) -> None:
        self.folder, self.log = folder, folder.with_suffix('.txt')
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self._offset, self._start = self.log.stat().st_size, time.monotonic()
        self._process = multiprocessing.get_context('spawn' if fresh else 'fork').Process(
            target=_train, args=([*arguments, '--work-dir', str(folder), '--resume'], self.log))
        self._process.start()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start

    def iteration(self) -> int | None:
        """The last iteration that this process has logged."""
        iterations = ITERATION.findall(self.log.read_bytes()[self._offset:].decode(errors='replace'))
        return int(iterations[-1]) if iterations else None

    def unfinished(self) -> str | None:
        """The checkpoint that the process is writing, or was when it was killed."""
        files = self.folder.glob(f'.*.pth.*-{self._process.pid}-*.partial')
        return next((re.match(r'\.(.+\.pth)\.', file.name)[1] for file in files), None)

    def wait(self, condition: Callable[[], object] = lambda: False) -> bool:
        """Wait for a condition; False if the process ends before. Raises if it fails or hangs."""
        while self._process.exitcode is None:
            if condition():
                return True
            if self.seconds > MAX_SECONDS:
                self.kill()
                raise RuntimeError(f'the training hangs; {self.log} ends:\n{self._tail()}')
            time.sleep(0.002)
        if self._process.exitcode != 0:
            raise RuntimeError(f'the training did not resume (exit code {self._process.exitcode}); {self.log} '
                               f'ends:\n{self._tail()}')
        return False

    def kill(self) -> None:
        """SIGKILL the process with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()

    def _tail(self) -> str:
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-15:])


def _train(arguments: list[str], log: Path) -> None:
    """Run tools/train.py in this (child) process, on one thread of the CPU."""
    os.setsid()
    os.environ.update(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    sys.stdout = sys.stderr = log.open('a', buffering=1)
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)
    torch.set_num_threads(1)
    sys.argv = [str(TRAIN_TOOL), *arguments]
    runpy.run_path(str(TRAIN_TOOL), run_name='__main__')


def run(arguments: list[str], work_dir: Path, iterations: int, interval: int, kills: int, seed: int = 0,
        fresh_every: int = 5, report: Callable[[str], object] = print) -> tuple[list[Kill], list[str]]:
    """Train undisturbed and with kills; return the kills, and where the end differs from the undisturbed one.

    Args:
        arguments: arguments of tools/train.py without the work folder, for `iterations` iterations, each logged, with
            a checkpoint every `interval` iterations.
        work_dir: folder of both trainings.
        kills: number of kills.
        seed: seed of their moments.
        fresh_every: every N-th start is a new interpreter, the others are forks; 0 always forks.
        report: called with a line per event.
    """
    whole, folder = work_dir / 'undisturbed', work_dir / 'killed'
    Process(arguments, whole).wait()
    report('trained without kills')
    made: list[Kill] = []
    start_seconds, running = 5.0, True
    while running:
        dice, begin = random.Random(f'{seed}/{len(made)}'), _resumes_at(folder)
        kind = dice.choices(list(KINDS), KINDS.values())[0] if len(made) < kills else None
        # On average, the remaining kills are evenly spread over the rest of the training.
        due = begin + dice.uniform(0, 2 * (iterations - begin) / (kills - len(made) + 1))
        process = Process(arguments, folder, fresh_every > 0 and len(made) % fresh_every == 0)
        try:
            running = _wait_for_moment(process, kind, due, dice, start_seconds)
        finally:
            process.kill()
        if running:
            start_seconds = process.seconds if kind != 'start' else start_seconds
            made.append(Kill(kind, process.iteration() or begin, process.unfinished(), _resumes_at(folder)))
            report(f'kill {len(made)}: {made[-1]}')
            if made[-1].iteration - made[-1].resumes_at > interval:
                raise RuntimeError(f'{made[-1]}: more than the {interval} iterations between checkpoints are lost')
    return made, differences(whole, folder)


def _wait_for_moment(process: Process, kind: str | None, due: float, dice: random.Random, start_seconds: float) -> bool:
    """Wait for the moment of a kill, or without a kind for the end; False if the training ends before."""
    if kind is None:
        return process.wait()
    if kind != 'start' and not process.wait(lambda: (process.iteration() or -1) >= due):
        return False
    if kind == 'save' and not process.wait(process.unfinished):
        return False
    pause = dict(start=start_seconds, step=0.3, save=0.05)[kind]
    moment = process.seconds + dice.uniform(0, pause)
    return process.wait(lambda: process.seconds >= moment)


def _resumes_at(folder: Path) -> int:
    latest = find_latest_checkpoint(str(folder)) if folder.is_dir() else None
    return int(re.search(r'(\d+)\.pth$', latest)[1]) if latest else 0


def summary(kills: list[Kill], different: list[str], seed: int, iterations: int, interval: int) -> str:
    """The result as a Markdown table."""
    kinds = Counter(kill.kind for kill in kills)
    lost = [kill.iteration - kill.resumes_at for kill in kills]
    result = f'DIFFERENT: {", ".join(different)}' if different else 'bit for bit those of the undisturbed training'
    rows = {'kills': len(kills), 'before the first iteration': kinds['start'],
            'at a random moment afterwards': kinds['step'], 'while a checkpoint was written': kinds['save'],
            'that left an unfinished checkpoint behind': sum(kill.unfinished is not None for kill in kills),
            'iterations lost by a kill: mean, maximum': f'{sum(lost) / max(len(lost), 1):.1f}, {max(lost, default=0)}',
            'iterations between two checkpoints': interval, 'iterations of the training': iterations,
            'state, curves, best score and metrics at the end': f'**{result}**'}
    return markdown([f'seed {seed}', ''], [[name, str(value)] for name, value in rows.items()])


def training(data_root: str, iterations: int, interval: int) -> list[str]:
    """Arguments of tools/train.py: CAMix with dropout on small crops, saved and validated often."""
    branches = (f'train_dataloader.dataset.{name}.pipeline.{place}.crop_size=64,64'
                for name, place in (('source', 3), ('target', 2)))
    return [
        CONFIG, '--seed', '0', '--cfg-options', *branches, f'data_root={data_root}',
        f'model.masks.context.prior={data_root}/priors/gta.npz', 'model.segmentor.data_preprocessor.size=64,64',
        'model.segmentor.decode_head.dropout_ratio=0.1', 'model.pseudo_labels.significance.passes=2',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=2', 'val_dataloader.dataset.indices=4',
        f'train_cfg.max_iters={iterations}', f'train_cfg.val_interval={10 * interval}',
        f'param_scheduler.0.end={iterations // 4}', f'param_scheduler.1.begin={iterations // 4}',
        f'param_scheduler.1.end={iterations}', f'default_hooks.checkpoint.interval={interval}',
        'default_hooks.checkpoint.max_keep_ckpts=2', 'default_hooks.checkpoint.save_best=teacher/mIoU',
        'default_hooks.logger.interval=1']


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50, help='number of kills (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the moments (default: %(default)s)')
    parser.add_argument('--iterations', type=int, default=200, help='of the training (default: %(default)s)')
    parser.add_argument('--interval', type=int, default=4, help='iterations between checkpoints (default: %(default)s)')
    parser.add_argument('--data-root', default='data/mini', help='the miniature benchmark (default: %(default)s)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kills'),
                        help='new folder for the trainings (default: %(default)s)')
    cli.add_debug(parser)
    args = parser.parse_args()
    if args.kills < 1 or args.iterations < 8 or not 1 <= args.interval <= args.iterations:
        parser.error('--kills must be at least 1, --iterations at least 8, --interval between 1 and --iterations')
    if args.work_dir.exists():
        parser.error(f'--work-dir {args.work_dir} exists; remove it, or name a new folder')
    return args


def main() -> int:
    """Kill, resume, compare, report; 1 if anything differs."""
    args = parse_args()
    arguments = training(args.data_root, args.iterations, args.interval)
    try:
        kills, different = run(arguments, args.work_dir, args.iterations, args.interval, args.kills, args.seed)
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    print(summary(kills, different, args.seed, args.iterations, args.interval))
    return 1 if different else 0


if __name__ == '__main__':
    cli.run(main)
