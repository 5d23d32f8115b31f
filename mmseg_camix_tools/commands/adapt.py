"""Adapt a network to a folder of unlabelled images, and export the better one.

Checks source and target, counts the classes of the source, measures which crop and batch fit memory and time, writes
the configs, trains, compares with the unadapted network on unlabelled target images, and exports. After a kill at any
moment, the same command continues where it stopped.

CONFIG is any config of mmseg with its training data. Without --checkpoint, a part of the time is spent on training the
network on the source first. With --source-free, only CONFIG, the checkpoint and the target images are used. Without
CONFIG, drawn streets are the source: only photographs of streets are needed.

examples:
  mmseg-camix adapt CONFIG --target photographs --checkpoint trained.pth --time 2h --out adapted
  mmseg-camix adapt CONFIG --target photographs --out adapted --dry-run
  mmseg-camix adapt --target photographs --time 20m --out adapted
  mmseg-camix adapt CONFIG --source simulator --classes road=1 grass=2,3 sky=4 --target photographs \\
      --out adapted
  mmseg-camix adapt CONFIG --source-free --checkpoint trained.pth --target photographs --out adapted
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmseg_camix import package_configs
from mmseg_camix.cli import add_config_options, did_you_mean, positive_int
from mmseg_camix.models.uda.wrapper import methods

from mmseg_camix_tools.adapt.arguments import Request, class_list, duration
from mmseg_camix_tools.adapt.drawn import drawn_request
from mmseg_camix_tools.adapt.training import branches_of
from mmseg_camix_tools.adapt.workflow import Workflow

NOT_ADAPTED = ('UDASegmentor', 'SourceOnly')
DEFAULTS = {False: 'DAFormer', True: 'SourceFree'}  # methods, by whether there is no source


def parse_args(argv: Sequence[str] | None = None) -> tuple[Request, bool]:
    """The request, and whether it is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config file of mmseg, adapted or not (default: a small network '
                                                  'with ImageNet weights, and drawn streets as its source)')
    parser.add_argument('--target', type=Path, required=True, metavar='FOLDER',
                        help='unlabelled images, at any depth below the folder')
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='folder for all results')
    parser.add_argument('--checkpoint', type=Path, metavar='FILE', help="trained weights of the config's network")
    parser.add_argument('--method', metavar='NAME',
                        help=f'adaptation method (default: {DEFAULTS[False]}; without source {DEFAULTS[True]})')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--time', type=duration, default=3600.0, metavar='DURATION',
                        help='time for all stages together: 2h, 90m, 1h30m (default: 1h)')
    length.add_argument('--iters', type=positive_int, metavar='N',
                        help='iterations of each training, instead of --time')
    source = parser.add_argument_group('source data other than those of the config')
    source.add_argument('--source', type=Path, metavar='FOLDER', help='folder with images/ and labels/ (PNGs)')
    source.add_argument('--classes', nargs='+', metavar='NAME=NUMBER',
                        help="classes of the labels, in the order of the network's outputs, or 'cityscapes' (raw ids)")
    source.add_argument('--source-free', action='store_true',
                        help='no labelled source: the target images and --checkpoint only')
    parser.add_argument('--few-labels', type=Path, metavar='FOLDER',
                        help='a few labelled target images: images/ and labels/, with the numbers of --classes, or '
                             "those of the network's outputs")
    parser.add_argument('--dry-run', action='store_true',
                        help='check the data and print the config and the commands; write nothing')
    add_config_options(parser)
    args = parser.parse_args(argv)
    method = _method(parser, args)
    try:
        classes = class_list(args.classes) if args.classes else None
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    _check_data(parser, args)
    config = package_configs.resolve(args.config or '')
    request = Request(config, args.target, args.out, method, args.checkpoint, args.time, args.iters,
                      args.source, classes, args.few_labels, args.source_free, options=args.cfg_options)
    if args.config is None:
        if args.source or args.checkpoint or args.dry_run or args.source_free:
            parser.error('--source, --source-free, --checkpoint and --dry-run need a CONFIG')
        request = drawn_request(request)
    elif not Path(config).is_file():
        parser.error(f'no config at {config}')
    return request, args.dry_run


def _method(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The given method or the default one; refuse an unknown one, and one that does not suit the data."""
    valid = [name for name in methods() if name not in NOT_ADAPTED]
    method = args.method or DEFAULTS[args.source_free]
    if method not in valid:
        parser.error(f"--method {method}: there is no such method{did_you_mean(method, valid)}; there are "
                     + ', '.join(valid))
    suitable = [name for name in valid if ('source' not in branches_of(name)) == args.source_free]
    if method not in suitable:
        parser.error(f'--method {method} ' + ('needs a source; remove --source-free, or choose one of: '
                                              if args.source_free else
                                              'trains without a source; add --source-free, or choose one of: ')
                     + ', '.join(suitable))
    return method


def _check_data(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse options on source and checkpoint that exclude or lack each other."""
    if args.source_free and args.source:
        parser.error('--source-free and --source exclude each other: with a source, leave out --source-free')
    if args.source_free and not args.checkpoint:
        parser.error('--source-free adapts a trained network: give its weights with --checkpoint FILE')
    if bool(args.source) != bool(args.classes):
        parser.error('--source and --classes belong together: a folder with images/ and labels/, and what the numbers '
                     'in its labels mean')
    if args.checkpoint and not args.checkpoint.is_file():
        parser.error(f'--checkpoint: no file at {args.checkpoint}')


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

