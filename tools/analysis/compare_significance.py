#!/usr/bin/env python
"""Compare the fast options of CAMix's significance mask: what each saves, and how the mask changes.

Times are taken in turns with steps of DACS on the same data, so that they can be compared. The mask of
a trained network is what counts: give its checkpoint.

examples:
  python tools/analysis/compare_significance.py configs/camix/mini_gta2cs_tiny.py CHECKPOINT
  python tools/analysis/compare_significance.py CONFIG CHECKPOINT --steps 50 --progress 1.0 --threads 2
"""

from __future__ import annotations

import argparse

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import torch
from mmengine.config import DictAction
from mmengine.logging import MMLogger

from mmseg_camix.analysis.fast_modes import compare
from mmseg_camix.engine.config import load_config


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of a config of CAMix')
    parser.add_argument('checkpoint', nargs='?', help='trained weights; without them the masks mean nothing')
    parser.add_argument('--steps', type=int, default=10, help='batches that count (default: 10)')
    parser.add_argument('--progress', type=float, default=0.5,
                        help='share of the training, which the threshold depends on (default: 0.5)')
    parser.add_argument('--threads', type=int, help='threads of torch on a CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if args.steps < 1 or not 0 <= args.progress <= 1:
        parser.error('--steps must be at least 1, --progress lie in [0, 1]')
    if args.threads:
        torch.set_num_threads(args.threads)
    MMLogger.get_instance('mmengine', log_level='WARNING')
    cfg = load_config(args.config, args.cfg_options)
    print(compare(cfg, args.checkpoint, args.steps, args.progress).table())


if __name__ == '__main__':
    main()
