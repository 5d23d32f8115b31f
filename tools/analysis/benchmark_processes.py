#!/usr/bin/env python
"""Compare the throughput of one and several processes on a CPU, which exchange gradients through gloo.

Each process trains on its own images, as with tools/dist_train.sh, once with a batch of its own and once
with one batch in common (model.global_batch=True). Rounds alternate, so that all meet the same load.

examples:
  python tools/analysis/benchmark_processes.py configs/dacs/mini_gta2cs_tiny.py
  python tools/analysis/benchmark_processes.py CONFIG --processes 1 2 4 --steps 30 --rounds 5
"""

from __future__ import annotations

import argparse

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import torch
from mmengine.config import DictAction

from mmseg_camix.analysis.processes import compare_processes
from mmseg_camix.analysis.timing import CLOCKS
from mmseg_camix.engine.config import is_adapted, load_config


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--processes', nargs='+', type=int, default=[1, 2], metavar='N',
                        help='how many, the first being what others are compared with (default: 1 2)')
    parser.add_argument('--steps', type=int, default=10, help='steps that count in each round (default: 10)')
    parser.add_argument('--warmup', type=int, default=3, help='steps before them (default: 3)')
    parser.add_argument('--rounds', type=int, default=3, help='repetitions (default: 3)')
    parser.add_argument('--threads', type=int, default=1, help='threads of each process (default: 1)')
    parser.add_argument('--clock', choices=list(CLOCKS), default='wall',
                        help="'thread' counts each process's own time, without waiting for the others: what cores of "
                             'their own would allow, also where the machine is busy (default: wall)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if min(args.processes) < 1:
        parser.error('--processes must be at least 1')
    torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    if not is_adapted(cfg):
        raise SystemExit(f'{args.config} has no adapted model (model.type={cfg.model.type}); wrap it first')
    print(compare_processes(cfg, args.processes, args.steps, args.warmup, args.rounds, args.clock).table())


if __name__ == '__main__':
    main()
