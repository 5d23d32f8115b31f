#!/usr/bin/env python
"""Evaluate a checkpoint: mIoU of student and teacher.

examples:
  python tools/test.py configs/dacs/mini_gta2cs_tiny.py work_dirs/mini_gta2cs_tiny/iter_1200.pth
  python tools/test.py CONFIG CHECKPOINT --dataloader source_val_dataloader
"""

from __future__ import annotations

import argparse
import os

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import DictAction
from mmengine.runner import Runner

from mmseg_camix.engine.config import complete_for_adaptation, load_config


def parse_args() -> argparse.Namespace:
    """Arguments, as in mmseg's own tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('checkpoint', help='file of the checkpoint')
    parser.add_argument('--work-dir', help='where the log and metrics.json go')
    parser.add_argument('--dataloader', default='test_dataloader', metavar='NAME',
                        help='which dataloader of the config to evaluate on (default: test_dataloader)')
    parser.add_argument('--out', metavar='FOLDER', help='also save predictions as PNGs of train ids there')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='who started this process, if it is one of several')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Build the runner from the config, load the checkpoint, evaluate."""
    args = parse_args()
    if not os.path.isfile(args.checkpoint):
        raise SystemExit(f'no checkpoint at {args.checkpoint}')
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    cfg.launcher = args.launcher
    cfg.load_from, cfg.resume = args.checkpoint, False
    if cfg.get(args.dataloader) is None:
        names = ', '.join(key for key in cfg if key.endswith('_dataloader') and cfg[key] is not None)
        raise SystemExit(f'{args.config} has no dataloader {args.dataloader}; it has: {names}')
    cfg.test_dataloader = cfg[args.dataloader]
    if args.out:
        cfg.test_evaluator = dict(cfg.test_evaluator, output_dir=args.out)
    complete_for_adaptation(cfg)
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
