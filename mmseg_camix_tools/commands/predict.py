"""Predict on images, folders and videos: overlays, colour maps, or label PNGs.

MODEL is a checkpoint of a training (which contains its config), a folder of mmseg-camix export, or a config file
followed by CHECKPOINT. INPUT is a file, a folder (searched recursively; results keep relative paths) or a glob
pattern. The result of a video is a video or, with --as labels, a folder of frames. Unreadable files are listed and
counted; the exit code is then 1.

examples:
  mmseg-camix predict work_dirs/dacs/mini_gta2cs_tiny/iter_1200.pth photos drive.mp4 --out predicted
  mmseg-camix predict export_teacher 'photos/**/*.jpg' --out labels --as labels --ids raw
  mmseg-camix predict CONFIG CHECKPOINT photos --out colours --as colour --skip-existing
"""

import argparse
import sys
from pathlib import Path

from mmseg_camix.cli import add_debug
from mmseg_camix.engine.config import CONFIG_FILES
from mmseg_camix_tools.export.files import open_network
from mmseg_camix.files import printable
from mmseg_camix_tools.inference.inputs import InputsError, find_items
from mmseg_camix_tools.inference.pictures import IDS, KINDS, drawing
from mmseg_camix_tools.inference.predictor import Predictor, device_of
from mmseg_camix_tools.inference.run import Run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='%(prog)s MODEL [CHECKPOINT] INPUT [INPUT ...] --out FOLDER [options]')
    parser.add_argument('model', metavar='MODEL', help='checkpoint, folder of an export, or config file')
    parser.add_argument('inputs', nargs='+', metavar='INPUT',
                        help='file, folder or pattern; after a config file, its checkpoint first')
    parser.add_argument('--config', help='config file, if MODEL is a checkpoint (default: the config in it)')
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='folder for the results')
    parser.add_argument('--as', dest='kind', choices=KINDS, default=KINDS[0],
                        help='colours over the image, colours alone, or the numbers of classes (default: overlay)')
    parser.add_argument('--opacity', type=float, default=0.5, help='opacity of an overlay (default: 0.5)')
    parser.add_argument('--ids', choices=IDS, default=IDS[0],
                        help="numbers of labels: the network's own, or raw ids of Cityscapes (default: train)")
    parser.add_argument('--frames', action='store_true', help='write videos as folders of frames')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--student', dest='choice', action='store_const', const='student', default='teacher',
                       help='use the student instead of the teacher')
    which.add_argument('--tested', dest='choice', action='store_const', const='tested',
                       help='use the network with which the method is tested')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cuda where there is one)')
    parser.add_argument('--batch-size', type=int, default=1, help='images of one size at once (default: 1)')
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument('--skip-existing', action='store_true', help='continue where an earlier call stopped')
    existing.add_argument('--overwrite', action='store_true', help='replace existing results')
    add_debug(parser)
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f'--batch-size {args.batch_size}: must be at least 1')
    if args.ids == 'raw' and args.kind != 'labels':
        parser.error('--ids raw is about --as labels')
    return args


def prepare(args: argparse.Namespace) -> tuple[Run, list]:
    """Open the model and find the inputs."""
    config, model, inputs = args.config, args.model, args.inputs
    if not config and model.endswith(CONFIG_FILES):
        config, model, inputs = model, inputs[0], inputs[1:]
        if not inputs:
            raise InputsError(f'no INPUT: {config} is a config and {model} its checkpoint')
    items = find_items(inputs, args.out)  # before the model, which takes longer
    network = open_network(Path(model), config, args.choice)
    draw = drawing(args.kind, network.classes, network.palette, args.opacity, args.ids)
    predictor = Predictor(network.build().to(device_of(args.device)), network.pipeline)
    frames = args.frames or args.kind == 'labels'  # a video would blur the numbers
    predictions = Run(predictor, draw, args.out, args.batch_size, frames, args.skip_existing)
    predictions.check(items, args.overwrite)
    print(network.description, file=sys.stderr)
    return predictions, items


def main(argv: list[str] | None = None) -> int:
    """Predict; returns the exit code."""
    args = parse_args(argv)
    predictions, items = prepare(args)
    try:
        predictions(items)
    except OSError as error:  # of writing: what cannot be read is counted
        raise OSError(f'{printable(error)}; --skip-existing continues') from error
    except KeyboardInterrupt:
        print('\nstopped; --skip-existing continues', file=sys.stderr)
        return 130
    print(f'{predictions.done} predicted, {predictions.skipped} already there, {len(predictions.failed)} unreadable -> '
          f'{printable(args.out)}')
    return 1 if predictions.failed else 0
