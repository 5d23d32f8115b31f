"""Write train-id PNGs beside the raw labels of a download: GTA, SYNTHIA, Cityscapes, ACDC or Dark Zurich.

They are 8-bit and grey; 0 to 18 are the classes of Cityscapes, 255 is ignored:

  gta                ROOT/labels/00001.png         -> ROOT/labels/00001_labelTrainIds.png
  synthia            ROOT/GT/LABELS/0000000.png    -> ROOT/GT/LABELS/0000000_labelTrainIds.png
  cityscapes         ROOT/gtFine/**/X_labelIds.png -> ROOT/gtFine/**/X_labelTrainIds.png
  acdc, dark_zurich  ROOT/gt/**/X_labelIds.png     -> ROOT/gt/**/X_labelTrainIds.png

This is optional, because the readers of this project read raw labels. It makes loading slightly faster (most for
SYNTHIA's 16-bit files), and other toolboxes need it. To read the result, set ids='train' and
seg_map_suffix='_labelTrainIds.png' in the dataset (Cityscapes: '_gtFine_labelTrainIds.png', ACDC and Dark Zurich:
'_gt_labelTrainIds.png').

It can be interrupted and restarted: intact files are skipped, and files are written completely or not at all.
Unreadable files are listed at the end, all others are converted; the exit code is then 1.
"""

import argparse
import os
import sys

from mmseg_camix.cli import add_debug
from mmseg_camix_tools.preparation import LAYOUTS
from mmseg_camix_tools.preparation.conversion import convert


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('family', choices=list(LAYOUTS), help='data set in ROOT')
    parser.add_argument('root', metavar='ROOT', help='folder of the download')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    parser.add_argument('--force', action='store_true', help='convert all files again')
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns its exit code."""
    args = parse_args(argv)
    written, skipped, failures = convert(args.family, args.root, args.jobs, args.force)
    print(f'{written} written, {skipped} there already, {len(failures)} failed')
    for failure in failures:
        print(f'error: {failure}', file=sys.stderr)
    return 1 if failures else 0
