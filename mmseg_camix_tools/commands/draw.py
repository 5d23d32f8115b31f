"""Draw the miniature benchmark: three small data sets of street scenes.

They have the folder layout and the encodings of GTA, SYNTHIA and Cityscapes, so that configs and tools work on the
real sets with another `data_root`. Each image depends only on seed, set, split and index. Complete data sets are left
unchanged, interrupted ones completed.
"""

import argparse
import os
import sys

from drawn_streets.writer import SETS, write_benchmark, write_preview


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='data/mini', help='folder of the data sets (default: %(default)s)')
    parser.add_argument('--sets', nargs='+', choices=SETS, default=SETS, help='sets to draw (default: all three)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the images (default: %(default)s)')
    parser.add_argument('--train', type=int, default=400, help='training images of each set (default: %(default)s)')
    parser.add_argument('--val', type=int, default=100,
                        help='validation images of gta and cityscapes (default: %(default)s)')
    parser.add_argument('--height', type=int, default=96,
                        help='rows of a Cityscapes image; the other sets keep the real '
                             'proportions (default: %(default)s: 192x96, gta 240x135)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1,
                        help='processes; they do not change the result (default: one per core)')
    parser.add_argument('--overwrite', action='store_true', help='replace sets that were drawn with other options')
    parser.add_argument('--preview', metavar='FILE.png', help='write only a contact sheet of the sets, 256 pixels high')
    args = parser.parse_args(argv)
    for name, least in (('train', 1), ('val', 0), ('height', 32), ('seed', 0)):
        if getattr(args, name) < least:
            parser.error(f'--{name} must be at least {least}, got {getattr(args, name)}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Draw; 1 if the folder is refused or cannot be written."""
    args = parse_args(argv)
    try:
        if args.preview:
            write_preview(args.preview, tuple(args.sets), args.seed)
            print(f'wrote {args.preview}')
            return 0
        drawn = write_benchmark(args.out, tuple(args.sets), args.seed, args.train, args.val,
                                args.height, args.workers, args.overwrite)
    except OSError as error:
        print('error:', f'{error.filename}: {error.strerror}' if error.filename else error, file=sys.stderr)
        return 1
    for name, count in drawn.items():
        print(f'{args.out}/{name}: ' + (f'{count} images drawn' if count else 'complete, left untouched'))
    return 0
