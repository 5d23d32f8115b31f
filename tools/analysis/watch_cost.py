#!/usr/bin/env python
"""Print what watching a training costs: steps that are not finite, collapsing pseudo-labels, live pictures.

examples:
  python tools/analysis/watch_cost.py configs/dacs/mini_gta2cs_tiny.py
  python tools/analysis/watch_cost.py CONFIG --rounds 3 --steps 3 --threads 2
"""

from __future__ import annotations

import argparse

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import torch
from mmengine.config import DictAction

from mmseg_camix.analysis.watch_cost import watch_cost
from mmseg_camix.engine.config import is_adapted, load_config


def main() -> None:
    """Time the steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--rounds', type=int, default=8, help='turns with and without the watches (default: 8)')
    parser.add_argument('--steps', type=int, default=5, help='steps of a turn (default: 5)')
    parser.add_argument('--threads', type=int, help='threads of torch on a CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 2:
        parser.error('--rounds must be at least 1, --steps at least 2 (the first of a turn does not count)')
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    if not is_adapted(cfg):
        raise SystemExit(f'{args.config} has no adapted model (model.type={cfg.model.type}); wrap it first')
    print(watch_cost(cfg, args.rounds, args.steps).table())


if __name__ == '__main__':
    main()
