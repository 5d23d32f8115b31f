"""Count the pixels of each class in each label file of a download: GTA, SYNTHIA, Cityscapes, ACDC or Dark Zurich.

Prints the totals of the 19 classes, and writes

  sample_class_stats.json   per file and in total: pixels of each class, pixels ignored
  samples_with_class.json   per class: the files that contain it, with pixels, most first

(their fields are described in mmseg_camix_tools/preparation/class_stats.py). Rare-class sampling and
long-tail pasting read them.

It can be interrupted and restarted: counted files that have not changed are skipped. Unreadable files are listed at the
end, all others are counted; the exit code is then 1.
"""

import argparse
import os
import sys

from mmseg_camix.cli import add_debug
from mmseg_camix_tools.preparation import LAYOUTS
from mmseg_camix_tools.preparation.class_stats import collect


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('family', choices=list(LAYOUTS), help='data set in ROOT')
    parser.add_argument('root', metavar='ROOT', help='folder of the download')
    parser.add_argument('--split', default='', help="subfolder of the labels, e.g. 'train'")
    parser.add_argument('--ann-file', default='', help='count only the names in this list below ROOT, e.g. train.txt')
    parser.add_argument('--out', default=None, help='folder for the JSON files (default: ROOT)')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    parser.add_argument('--force', action='store_true', help='count all files again')
    add_debug(parser)
    return parser.parse_args(argv)


def print_totals(stats: dict) -> None:
    """Print files, pixels and share of every class."""
    every = sum(stats['total_pixels']) or 1
    print(f'{"class":<14}{"files":>8}{"pixels":>15}{"share":>9}')
    for row in zip(stats['classes'], stats['total_files'], stats['total_pixels']):
        print(f'{row[0]:<14}{row[1]:>8}{row[2]:>15}{row[2] / every:>9.3%}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns its exit code."""
    args = parse_args(argv)
    stats, failures = collect(args.family, args.root, args.out, args.split, args.ann_file, args.jobs, args.force)
    print_totals(stats)
    for failure in failures:
        print(f'error: {failure}', file=sys.stderr)
    return 1 if failures else 0
