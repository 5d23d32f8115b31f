#!/usr/bin/env python
"""Draw CAMix's significance mask at several checkpoints of a training, on the same target crops.

For each checkpoint: the crop with dropped pixels in red, and below it the entropy, dark where the
teacher is sure and bright at ln C. The threshold is that of the checkpoint's iteration.

examples:
  python -m benchmarks.draw_significance configs/camix/mini_gta2cs_tiny.py WORK_DIR/iter_*.pth
  python -m benchmarks.draw_significance CONFIG iter_300.pth iter_1200.pth --out docs/significance.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import MMLogger

from benchmarks.pictures_mixes import draw_significance
from mmseg_camix.engine.config import load_config


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of a config of CAMix')
    parser.add_argument('checkpoints', nargs='+', help='of one training (keep several: '
                        'default_hooks.checkpoint.max_keep_ckpts=-1)')
    parser.add_argument('--out', type=Path, default=Path('significance.png'),
                        help='picture to write (default: significance.png)')
    parser.add_argument('--count', type=int, default=3, help='crops (default: 3)')
    parser.add_argument('--start', type=int, default=0, help='batches to pass over, to see others (default: 0)')
    parser.add_argument('--width', type=int, default=240, help='of each tile in pixels (default: 240)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if args.count < 1 or args.start < 0 or args.width < 64:
        parser.error('--count must be at least 1, --start at least 0, --width at least 64')
    if args.out.is_dir():
        parser.error(f'--out {args.out} is a folder; name a file in it')
    MMLogger.get_instance('mmengine', log_level='WARNING')
    cfg = load_config(args.config, args.cfg_options)
    for line in draw_significance(cfg, args.checkpoints, args.out, args.count, args.width, args.start):
        print(line)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
