#!/usr/bin/env python
"""Draw mixed images: source, target, the mix of DACS and the mix of CAMix, with their labels.

White lines in the mixes enclose what was pasted. Colour jitter and blur are left out.

examples:
  python -m benchmarks.draw_mixes configs/camix/mini_gta2cs_tiny.py CHECKPOINT --out docs/mixes.png
  python -m benchmarks.draw_mixes CONFIG CHECKPOINT --start 3 --count 6
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import MMLogger

from benchmarks.pictures_mixes import draw_mixes
from mmseg_camix.engine.config import load_config


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of a config of CAMix')
    parser.add_argument('checkpoint', nargs='?', help='trained weights; an untrained teacher sees nothing sensible')
    parser.add_argument('--out', type=Path, default=Path('mixes.png'), help='picture to write (default: mixes.png)')
    parser.add_argument('--count', type=int, default=4, help='pairs of images (default: 4)')
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
    draw_mixes(cfg, args.checkpoint, args.out, args.count, args.width, args.start)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
