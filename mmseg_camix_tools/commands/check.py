"""Check the data of a config before training.

Opens images and labels of source, target, further branches and validation set with the config's pipelines. Reports
errors, warnings (probably unintended) and notes, each with a remedy: unreadable and missing files, numbers without a
class, labels of another size, class lists, heads, priors and weights that do not match, crops larger than images,
frequencies of the classes in both domains, and more. With --out it draws samples with their labels: inspect them.

Exit status: 0 without errors, 1 with errors.

examples:
  mmseg-camix check configs/camix/mini_gta2cs_tiny.py --out work_dirs/check
  mmseg-camix check CONFIG --samples 0 --jobs 8          # open every file
  mmseg-camix check CONFIG --json check.json --cfg-options data_root=/data
"""

import argparse
import json
import os
from functools import partial
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.registry import init_default_scope

from mmseg_camix.cli import add_config_options
from mmseg_camix_tools.doctor import Examination, examine, report
from mmseg_camix_tools.doctor.pictures import draw_classes, draw_samples
from mmseg_camix.engine.config import load_config
from mmseg_camix.files import atomic_write


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--samples', type=int, default=500, metavar='N',
                        help='how many images of each part to open, evenly spread; 0 for all (default: 500)')
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='folder for samples.png and classes.png')
    parser.add_argument('--shown', type=int, default=4, metavar='N',
                        help='samples of each part in the picture (default: 4)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the results as data')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes (default: one per core)')
    add_config_options(parser)
    args = parser.parse_args(argv)
    if args.samples < 0 or args.shown < 1:
        parser.error('--samples must be 0 or more, --shown 1 or more')
    return args


def main(argv: list[str] | None = None) -> int:
    """Check, report, draw; return the exit code."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    examination = examine(cfg, args.samples, args.jobs)
    print(report(examination))
    write(examination, args)
    return 1 if examination.failed else 0


def write(examination: Examination, args: argparse.Namespace) -> None:
    """Write JSON and pictures, if requested."""
    if args.json:
        atomic_write(args.json, json.dumps(dict(config=args.config, **examination.to_dict()), indent=1) + '\n')
    if args.out:
        for name, draw in (('samples.png', partial(draw_samples, count=args.shown)), ('classes.png', draw_classes)):
            if draw(examination, args.out / name):
                print(f'drew {args.out / name}')
