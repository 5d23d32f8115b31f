"""Adapt a network to a folder of unlabelled images, and hand back the better one.

Examines source and target, counts the spatial prior, measures which crop and batch fit memory and time, writes the
configs that it trains, trains, compares with the unadapted network on target images without labels, and exports.
Killed at any moment, the same command continues where it stopped.

CONFIG is any config of mmseg with its training data. Without a checkpoint of its network, a part of the time trains
one on the source first. Without CONFIG, drawn streets are the source: photographs of streets are all that is needed.

examples:
  mmseg-camix adapt CONFIG --target photographs --checkpoint trained.pth --time 2h --out adapted
  mmseg-camix adapt CONFIG --target photographs --out adapted --dry-run
  mmseg-camix adapt --target photographs --time 20m --out adapted
  mmseg-camix adapt CONFIG --source simulator --classes road=1 grass=2,3 sky=4 --target photographs \\
      --out adapted
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmseg_camix.cli import add_config_options, did_you_mean, positive_int
from mmseg_camix.models.uda.wrapper import methods

from mmseg_camix_tools.adapt.arguments import Request, class_list, duration
from mmseg_camix_tools.adapt.drawn import drawn_request
from mmseg_camix_tools.adapt.workflow import Workflow

NOT_ADAPTED = ('UDASegmentor', 'SourceOnly')


def parse_args(argv: Sequence[str] | None = None) -> tuple[Request, bool]:
    """The request, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='file of a config of mmseg, adapted or not (default: a small network '
                                                  'with ImageNet weights, and drawn streets as its source)')
    parser.add_argument('--target', type=Path, required=True, metavar='FOLDER',
                        help='unlabelled images, at any depth below the folder')
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='where all results go')
    parser.add_argument('--checkpoint', type=Path, metavar='FILE', help="trained weights of the config's network")
    parser.add_argument('--method', default='CAMix', metavar='NAME', help='(default: %(default)s)')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--time', type=duration, default=3600.0, metavar='DURATION',
                        help='for everything together: 2h, 90m, 1h30m (default: 1h)')
    length.add_argument('--iters', type=positive_int, metavar='N', help='iterations of the adaptation instead')
    source = parser.add_argument_group('other labelled data than those of the config')
    source.add_argument('--source', type=Path, metavar='FOLDER', help='it holds images/ and labels/ (PNGs)')
    source.add_argument('--classes', nargs='+', metavar='NAME=NUMBER',
                        help="classes of the labels, in the order of the network's outputs, or 'cityscapes' (raw ids)")
    parser.add_argument('--few-labels', type=Path, metavar='FOLDER',
                        help='a few labelled target images: images/ and labels/, with the numbers of --classes, or '
                             "those of the network's outputs")
    parser.add_argument('--dry-run', action='store_true', help='check the data, and print what would be done')
    add_config_options(parser)
    args = parser.parse_args(argv)
    valid = [name for name in methods() if name not in NOT_ADAPTED]
    if args.method not in valid:
        parser.error(f"--method {args.method}: there is no such method{did_you_mean(args.method, valid)}; there are "
                     + ', '.join(valid))
    try:
        classes = class_list(args.classes) if args.classes else None
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if bool(args.source) != bool(classes):
        parser.error('--source and --classes belong together: a folder with images/ and labels/, and what the numbers '
                     'in its labels mean')
    if args.checkpoint and not args.checkpoint.is_file():
        parser.error(f'--checkpoint: no file at {args.checkpoint}')
    request = Request(args.config or '', args.target, args.out, args.method, args.checkpoint, args.time, args.iters,
                      args.source, classes, args.few_labels, options=args.cfg_options)
    if args.config is None:
        if args.source or args.checkpoint or args.dry_run:
            parser.error('--source, --checkpoint and --dry-run need a CONFIG')
        request = drawn_request(request)
    elif not Path(args.config).is_file():
        parser.error(f'no config at {args.config}')
    return request, args.dry_run


def main(argv: Sequence[str] | None = None) -> None:
    """Adapt, or print what would be done."""
    request, dry = parse_args(argv)
    # mmseg's reminder of a default, for every network that is built.
    warnings.filterwarnings('ignore', message='Default ``avg_non_ignore``')
    workflow = Workflow(request)
    if dry:
        workflow.dry_run()
    else:
        print('\n' + workflow.run())

