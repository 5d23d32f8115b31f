#!/usr/bin/env python
"""Print where the time of a training step goes, phase by phase, with its peak memory; or compare options of speed.

examples:
  python -m benchmarks.step configs/dacs/mini_gta2cs_tiny.py
  python -m benchmarks.step CONFIG --steps 50 --threads 2 --json timing.json
  python -m benchmarks.step CONFIG --options amp=bf16 checkpointing amp=bf16+checkpointing
  python -m benchmarks.step CONFIG --steps 2 --warmup 0 --most-gib 20    # fails if it needs more
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from benchmarks.options import compare_options
from benchmarks.timing import CLOCKS, time_step
from mmseg_camix.cli import add_config_options, run
from mmseg_camix.engine.config import is_adapted, load_config


def main() -> None:
    """Time the steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--steps', type=int, default=20, help='steps that count (default: 20)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them (default: 3)')
    parser.add_argument('--threads', type=int, help='threads of torch on a CPU')
    parser.add_argument('--most-gib', type=float, metavar='GIB', help='fail if the peak of the memory is above this')
    parser.add_argument('--options', nargs='+', metavar='OPTION',
                        help='compare these with the config as it is, in turns: those of tools/train.py --speed, '
                             "several joined by '+'")
    parser.add_argument('--clock', choices=list(CLOCKS), default='wall',
                        help="'thread' counts the time of the training's own thread: with --threads 1, for a CPU that "
                             'others use too (default: wall)')
    parser.add_argument('--json', type=Path, help='also write the numbers to this file')
    add_config_options(parser)
    args = parser.parse_args()
    if args.steps < 1 or args.warmup < 0:
        parser.error('--steps must be at least 1, --warmup at least 0')
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    if not is_adapted(cfg):
        raise SystemExit(f'{args.config} has no adapted model (model.type={cfg.model.type}); wrap it first')
    timing = (compare_options(cfg, args.options, args.steps, args.warmup, args.clock) if args.options else
              time_step(cfg, args.steps, args.warmup, args.clock))
    print(timing.table())
    if args.json:
        args.json.write_text(json.dumps(dataclasses.asdict(timing), indent=1) + '\n')
    if args.most_gib is not None and not args.options and timing.peak_mib > 1024 * args.most_gib:
        raise SystemExit(f'{args.config}: the step took {timing.peak_mib / 1024:.1f} GiB, above {args.most_gib:g} GiB')


if __name__ == '__main__':
    run(main)
