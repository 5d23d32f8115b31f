"""Write a report on trainings as one HTML file: result, curves, classes, target images, record.

WORK_DIR is the work folder of a training. Several are compared; a source-only training among them is the network
before adaptation. The report lists what a folder lacks. Run the command in the folder in which the trainings were
started, because paths in their configs are relative to it.

examples:
  mmseg-camix report work_dirs/camix/mini_gta2cs_tiny --out report.html
  mmseg-camix report work_dirs/source_only/mini_gta2cs_tiny work_dirs/camix/mini_gta2cs_tiny --out report.html
  mmseg-camix report WORK_DIR --images 0 --out report.html      # from the logs alone, no network runs
  mmseg-camix report WORK_DIR --target my_photographs --baseline source_only.pth --out report.html
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmseg_camix.cli import add_debug
from mmseg_camix.files import printable
from mmseg_camix_tools.report.page import write_report

LARGE = 15 * 2**20  # bytes


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work folder of a training')
    parser.add_argument('--out', type=Path, default=Path('report.html'), metavar='FILE',
                        help='file of the report (default: %(default)s)')
    parser.add_argument('--images', type=int, default=8, metavar='N',
                        help='target images to show; four times as many are labelled (default: 8; 0 runs no network)')
    parser.add_argument('--target', metavar='FOLDER', help='images to label (default: those of the recorded config)')
    parser.add_argument('--baseline', metavar='CHECKPOINT', help='network before adaptation')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cuda where there is one)')
    add_debug(parser)
    args = parser.parse_args(argv)
    if args.images < 0:
        parser.error(f'--images {args.images}: must be at least 0')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; returns the exit code."""
    args = parse_args(argv)
    path = write_report(args.work_dirs, args.out, args.images, args.baseline, args.target, args.device)
    size = path.stat().st_size
    print(f'{printable(path)} ({size / 2**20:.1f} MB)')
    if size > LARGE:
        print('The file is large; fewer --images make it smaller', file=sys.stderr)
    return 0
