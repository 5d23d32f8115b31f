"""Evaluate a checkpoint: mIoU and IoU of each class, of student and teacher.

examples:
  mmseg-camix test configs/dacs/mini_gta2cs_tiny.py work_dirs/dacs/mini_gta2cs_tiny/iter_1200.pth
  mmseg-camix test CONFIG CHECKPOINT --dataloader source_val_dataloader
  mmseg-camix test CONFIG CHECKPOINT --resolution native            # at the size of the label files
  mmseg-camix test CONFIG CHECKPOINT --input-size 2048 1024 --slide # windows of the training crop
  mmseg-camix test CONFIG CHECKPOINT --tta 0.75 1 1.25              # average over scales and mirror images
  mmseg-camix test CONFIG CHECKPOINT --paper CAMix --json out.json --markdown out.md   # beside the paper's row
"""

import argparse
import json
import os

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from PIL import Image
from torch.utils.data import Dataset

from mmseg_camix.cli import add_config_options, positive_float, positive_int
from mmseg_camix.engine import testing
from mmseg_camix.engine.config import complete_for_adaptation, load_config, prepare_work_dir
from mmseg_camix.engine.processes import unwrap_model
from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix.evaluation import SUBSETS
from mmseg_camix.evaluation.reported import Row, find_row
from mmseg_camix.evaluation.results import OTHER_IMAGES, compare_means, is_comparable, markdown, result_of
from mmseg_camix.files import atomic_write, check_place

TTA_SCALES = (0.75, 1.0, 1.25)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Arguments, as in mmseg's own tool, and how to predict, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('checkpoint', help='file of the checkpoint')
    parser.add_argument('--work-dir', help='folder for the log and metrics.json')
    parser.add_argument('--dataloader', default='test_dataloader', metavar='NAME',
                        help='dataloader of the config to evaluate on (default: test_dataloader)')
    parser.add_argument('--out', metavar='FOLDER', help='also save predictions there, as PNGs of train ids')
    add_evaluation_args(parser.add_argument_group('how to evaluate (default: as in the config)'))
    results = parser.add_argument_group('results')
    results.add_argument('--json', metavar='FILE', help='write the result as data')
    results.add_argument('--markdown', metavar='FILE', help='write the result as a table')
    results.add_argument('--paper', metavar='ROW', help='published result to compare with: a method (CAMix), or the id '
                                                        'of a row of docs/results.md (camix-gta-sp)')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what started this process, if it is one of several')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.slide is not None and len(args.slide) not in (0, 2):
        parser.error('--slide takes no numbers, or two: the side of the window and the stride')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def add_evaluation_args(group: argparse._ArgumentGroup) -> None:
    """Options that change what is predicted and where it is compared."""
    group.add_argument('--resolution', choices=testing.RESOLUTIONS,
                       help='paper: as published for the method (the default); input: labels are resized like the '
                            'images (1024x512 in the configs of the real sets); native: predictions are enlarged to '
                            "the labels' own size")
    group.add_argument('--input-size', type=positive_int, nargs=2, metavar=('WIDTH', 'HEIGHT'),
                       help='resize images to this size before they reach the network')
    group.add_argument('--slide', type=positive_int, nargs='*', metavar='PIXELS',
                       help='predict in overlapping windows: WINDOW STRIDE (default: the training crop and half of it)')
    group.add_argument('--tta', type=positive_float, nargs='*', metavar='SCALE',
                       help='average probabilities over these scales, each also mirrored (default: 0.75 1 1.25; '
                            '--tta 1 only mirrors)')
    group.add_argument('--subsets', nargs='+', choices=list(SUBSETS), default=[],
                       help='further means over subsets of the classes of Cityscapes')


def configure(cfg: Config, args: argparse.Namespace) -> dict:
    """Apply the options to the config; returns how it evaluates, for the record."""
    if cfg.get(args.dataloader) is None:
        names = ', '.join(key for key in cfg if key.endswith('_dataloader') and cfg[key] is not None)
        raise SystemExit(f'{args.config} has no dataloader {args.dataloader}; it has: {names}')
    cfg.test_dataloader = cfg[args.dataloader]
    if args.out:
        cfg.test_evaluator = dict(cfg.test_evaluator, output_dir=args.out)
    testing.report_classes(cfg, args.subsets)
    if args.input_size:
        testing.set_input_size(cfg, *args.input_size)
    if args.resolution:
        testing.evaluate_at(cfg, args.resolution)
    if args.slide is not None:
        testing.slide(cfg, *((side, side) for side in args.slide))
    complete_for_adaptation(cfg)
    scales = None if args.tta is None else tuple(args.tta or TTA_SCALES)
    how = testing.evaluation_settings(cfg, scales)
    if scales is not None:
        testing.augment(cfg, scales)
    return how


def described(dataset: Dataset) -> dict:
    """What was tested on: kind, number and size of the images."""
    path = getattr(dataset, 'get_data_info', lambda index: {})(0).get('img_path', '')
    try:
        size = '{}x{}'.format(*Image.open(path).size)
    except OSError:  # in an archive or a bucket
        size = ''
    return dict(type=type(dataset).__name__, images=len(dataset), size=size)


def write(result: dict, row: Row | None, args: argparse.Namespace) -> None:
    """The files that were asked for; what cannot be written is printed, for it took long to measure."""
    text = json.dumps(result, indent=1) + '\n'
    try:
        if args.json:
            atomic_write(args.json, text)
        if args.markdown:
            atomic_write(args.markdown, markdown(result, row))
    except OSError as error:
        print(text)
        raise SystemExit(f'the result (above) could not be written: {error}') from error


def compare(result: dict, row: Row) -> None:
    """Print the means beside those of the paper."""
    for size, (mean, printed) in compare_means(result, row).items():
        difference = f' ({mean - printed:+.2f})' if is_comparable(result) else ''
        print(f'{row.citation}: {row.format(printed)} over {size} classes; here {mean:.2f}{difference}')
    if not is_comparable(result):
        print(OTHER_IMAGES)


def main(argv: list[str] | None = None) -> None:
    """Build the runner from the config, load the checkpoint, evaluate, write."""
    args = parse_args(argv)
    if not os.path.isfile(args.checkpoint):
        raise SystemExit(f'no checkpoint at {args.checkpoint}')
    for place in filter(None, (args.json, args.markdown)):
        check_place(place)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    prepare_work_dir(cfg)
    prepare_launch(cfg, args.launcher)
    cfg.load_from, cfg.resume = args.checkpoint, False
    try:
        row = find_row(args.paper, cfg.filename) if args.paper else None
    except ValueError as error:
        raise SystemExit(f'--paper: {error}') from error
    how = configure(cfg, args)
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    if not is_main_process():
        return
    dataset, model = runner.test_dataloader.dataset, unwrap_model(runner.model)
    result = result_of(
        metrics, os.path.relpath(args.config), args.cfg_options or {}, args.checkpoint, described(dataset),
        dataset.metainfo['classes'], how, getattr(model, 'predict_with', 'network'), row and row.id)
    write(result, row, args)
    if row is not None:
        try:
            compare(result, row)
        except ValueError as error:
            raise SystemExit(f'--paper: {error}') from error
