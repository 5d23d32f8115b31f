"""Prepare a download for training: check it, count its classes and its spatial prior, and cache it for fast input.

  1. check every file: folders, numbers of images and labels, pairs, sizes, checksums, encodings, ids.
     Defects are listed in ROOT/defects.json; training skips these images only if its dataset has
     skip='defects.json', and stops at them otherwise.
  2. count the classes of each label (sample_class_stats.json, samples_with_class.json), for rare-class
     and long-tail sampling.
  3. gta, synthia: count the spatial prior of CAMix (../priors/NAME.npz).
  4. with --cache: store images and labels of --config losslessly, as they are after loading and
     resizing, in ROOT/cache. A dataset with cache='cache' reads them.

It can be interrupted and restarted, and reports when there is nothing to do. Problems of the machine
(permissions, a full disk) end it with exit code 1; finished steps are kept.

examples:
  mmseg-camix prepare gta data/gta
  mmseg-camix prepare gta data/gta --config configs/camix/gta2cs_daformer.py --cache
  mmseg-camix prepare cityscapes data/cityscapes --config configs/camix/gta2cs_daformer.py --cache
  mmseg-camix prepare gta data/mini/gta --any-count      # the miniature benchmark
"""

import argparse
import importlib.util
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

FAMILIES = ('gta', 'synthia', 'cityscapes', 'acdc', 'dark_zurich', 'camvid')
HERE = Path(__file__).resolve()


def load_state() -> ModuleType:
    """The part that needs only Python; importing the package would import torch and mmseg, for seconds."""
    path = HERE.parents[1] / 'preparation/state.py'
    spec = importlib.util.spec_from_file_location('prepare_state', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('family', choices=FAMILIES, help='data set in ROOT')
    parser.add_argument('root', metavar='ROOT', help='folder of the download, unpacked')
    parser.add_argument('--config', help='config that trains on the data set; prior and cache are for its pipeline')
    parser.add_argument('--cache', action='store_true', help='build the cache of --config')
    parser.add_argument('--no-prior', action='store_true', help='do not count the spatial prior')
    parser.add_argument('--prior-out', metavar='FILE.npz', help='file of the prior (default: ../priors/NAME.npz)')
    parser.add_argument('--train-ids', action='store_true', help='also write train-id PNGs beside the labels')
    parser.add_argument('--any-count', action='store_true', help='accept a part of the download')
    parser.add_argument('--out', help='folder for the results (default: ROOT)')
    parser.add_argument('--verify', action='store_true', help='read the whole cache again, and rebuild what is damaged')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    parser.add_argument('--debug', action='store_true', help='show the stack trace of an error')
    args = parser.parse_args(argv)
    if args.cache and not args.config:
        parser.error('--cache needs --config: the cache is of what its pipeline loads and resizes')
    return args


def main(argv: list[str] | None = None) -> int:
    """Report that there is nothing to do, or prepare the download; return the exit code."""
    args, start, state = parse_args(argv), time.monotonic(), load_state()
    root, out = os.path.abspath(args.root), os.path.abspath(args.out or args.root)
    asked = dict(family=args.family, root=root, config=state.config_digest(args.config), cache=args.cache,
                 no_prior=args.no_prior, prior_out=args.prior_out, train_ids=args.train_ids)
    done = None if args.verify else state.is_done(out, root, asked)
    if done is not None:
        print(f'{done}\nnothing to do: all is as the last run left it ({time.monotonic() - start:.1f} s)')
        return 0
    from mmseg_camix.cli import run
    return run(partial(make, args, root, out, asked, start))


def make(args: argparse.Namespace, root: str, out: str, asked: dict, start: float) -> int:
    """Prepare the download and print a summary; return the exit code."""
    from mmseg_camix_tools.preparation import Options, prepare
    options = Options(config=args.config, cache=args.cache, prior=not args.no_prior, prior_out=args.prior_out,
                      train_ids=args.train_ids, any_count=args.any_count, verify=args.verify, jobs=args.jobs)
    outcome = prepare(args.family, Path(root), Path(out), options, asked)
    print(outcome.summary())
    for problem in outcome.problems[:20]:
        print(f'error: {problem}', file=sys.stderr)
    if outcome.problems:
        print(f'{len(outcome.problems)} files could not be read (see above); what is done is kept: run the same '
              'command again', file=sys.stderr)
        return 1
    print(f'{"ready" if outcome.changed else "nothing to do: all was there"} ({time.monotonic() - start:.1f} s)')
    return 0
