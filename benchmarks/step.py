"""Print the time of each phase of a training step, and the peak memory.

examples:
  python -m benchmarks.step configs/dacs/mini_gta2cs_tiny.py
  python -m benchmarks.step CONFIG --steps 50 --threads 2 --json timing.json
  python -m benchmarks.step CONFIG --speed amp=bf16 checkpointing
  python -m benchmarks.step CONFIG --steps 2 --warmup 0 --most-gib 20    # fails if it needs more
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config

from mmseg_camix import cli
from mmseg_camix.engine.config import is_adapted, load_config
from mmseg_camix.engine.speed import apply_options

from .tables import markdown
from .timing import CLOCKS, Training, device_name

NETWORK_PHASES = ('forward', 'backward')  # suffixes of phases that run a network; all else is the method's overhead


@dataclass(frozen=True)
class StepTiming:
    """The median of each phase in milliseconds, and the peak memory."""

    phases: dict[str, float]
    peak_mib: float
    device: str

    @property
    def total(self) -> float:
        """Milliseconds of a step."""
        return sum(self.phases.values())

    @property
    def overhead(self) -> float:
        """The share of a step outside the forward and backward passes of networks."""
        return sum(ms for name, ms in self.phases.items() if not name.endswith(NETWORK_PHASES)) / self.total

    def table(self) -> str:
        """The phases as a Markdown table."""
        rows = [[name, f'{ms:.1f}', f'{ms / self.total:.1%}'] for name, ms in self.phases.items()]
        return (markdown(['phase', 'ms', 'share'], [*rows, ['**step**', f'**{self.total:.1f}**', '']]) +
                f'\n\nnot a network pass: {self.overhead:.1%} of the step; peak memory {self.peak_mib:.0f} MiB '
                f'({self.device})')


def time_step(cfg: Config, steps: int = 20, warmup: int = 3, clock: str = 'wall') -> StepTiming:
    """Train `steps` steps of a config after `warmup` uncounted ones, and return the time of each phase."""
    timing = timing_of(Training.of(cfg, clock=clock), steps, warmup)
    note = "; the thread's own time, without waiting" if clock == 'thread' else ''
    return replace(timing, device=timing.device + note)


def timing_of(training: Training, steps: int, warmup: int) -> StepTiming:
    """The time of each phase of `steps` steps, after `warmup` uncounted ones."""
    device = training.watch.device
    for index in range(warmup + steps):
        if index == warmup:
            training.watch.seconds.clear()
            if device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats(device)
        training.step(index)
    phases = {name: 1000 * median(values) for name, values in training.watch.seconds.items()}
    return StepTiming(phases, _process_peak_mib(device), device_name(device))


def _process_peak_mib(device: torch.device) -> float:
    """Peak memory of the GPU's allocator, or of the process on a CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--steps', type=int, default=20, help='steps that count (default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them (default: %(default)s)')
    parser.add_argument('--threads', type=int, help='threads of torch on a CPU')
    parser.add_argument('--most-gib', type=float, metavar='GIB', help='fail if the peak memory is above this')
    parser.add_argument('--speed', nargs='+', default=[], metavar='OPTION', help='options of mmseg-camix train --speed')
    parser.add_argument('--clock', choices=list(CLOCKS), default='wall', help="'thread' counts the time of the "
                        "training's own thread: with --threads 1, for a busy CPU (default: wall)")
    parser.add_argument('--json', type=Path, help='also write the numbers to this file')
    cli.add_config_options(parser)
    args = parser.parse_args()
    if args.steps < 1 or args.warmup < 0:
        parser.error('--steps must be at least 1, --warmup at least 0')
    return args


def main() -> None:
    """Time the steps and print the table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    if not is_adapted(cfg):
        raise SystemExit(f'{args.config} has no adapted model (model.type={cfg.model.type}); wrap it first')
    apply_options(cfg, args.speed)
    result = time_step(cfg, args.steps, args.warmup, args.clock)
    print(result.table())
    if args.json:
        args.json.write_text(json.dumps(asdict(result), indent=1) + '\n')
    if args.most_gib is not None and result.peak_mib > 1024 * args.most_gib:
        raise SystemExit(f'{args.config}: the step took {result.peak_mib / 1024:.1f} GiB, above {args.most_gib:g} GiB')


if __name__ == '__main__':
    cli.run(main)
