"""Export a trained network as a plain mmseg config and checkpoint, as safetensors, or as ONNX.

Writes the teacher, or the student, without the method around it, into a folder:
  config.py, model.pth   for mmseg's init_model and MMSegInferencer; without this package if all classes
                         of the network are mmseg's (otherwise the output says NOT STOCK)
  model.safetensors      the weights, with classes and colours in the metadata
  model.onnx             the network as a graph, whose results onnxruntime compares with PyTorch's
  card.md                the model card: training, data, scores, checksums, limits, commands

examples:
  mmseg-camix export work_dirs/dacs/mini_gta2cs_tiny/iter_1200.pth
  mmseg-camix export CHECKPOINT --student --formats mmseg safetensors onnx --out exported
  mmseg-camix export CHECKPOINT --formats onnx --size 512 1024 --with-preprocessing
"""

import argparse
from pathlib import Path

from mmseg_camix.cli import add_debug, positive_int
from mmseg_camix_tools.export.card import CARD, write_card
from mmseg_camix_tools.export.files import (FORMATS, ONNX, SAFETENSORS, WEIGHTS, open_network, refuse_leftovers,
                                            staged, write_mmseg, write_safetensors)
from mmseg_camix_tools.export.onnx import write_onnx
from mmseg_camix_tools.export.plain import PlainNetwork


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a training, or folder of an export')
    parser.add_argument('--config', help='config file (default: the config in the checkpoint)')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--student', dest='choice', action='store_const', const='student', default='teacher',
                       help='export the student instead of the teacher')
    which.add_argument('--tested', dest='choice', action='store_const', const='tested',
                       help='export the network with which the method is tested')
    parser.add_argument('--out', type=Path, metavar='FOLDER',
                        help='folder for the results (default: export_<network> beside the checkpoint)')
    parser.add_argument('--formats', nargs='+', choices=FORMATS, default=['mmseg'],
                        help='formats to write (default: mmseg)')
    parser.add_argument('--terms', metavar='TEXT', help='licence of the weights and terms of the data, for the card')
    onnx = parser.add_argument_group('ONNX')
    onnx.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'),
                      help='fixed size of the images (default: any size; the batch size is always free)')
    onnx.add_argument('--opset', type=positive_int, help="version of ONNX's operators (default: torch's choice)")
    onnx.add_argument('--with-preprocessing', action='store_true',
                      help='accept images as loaded by OpenCV (BGR, uint8), and normalise within the graph')
    add_debug(parser)
    args = parser.parse_args(argv)
    if args.size and min(args.size) < 1:
        parser.error(f'--size {args.size[0]} {args.size[1]}: must be positive')
    if 'onnx' not in args.formats and (args.size or args.opset or args.with_preprocessing):
        parser.error('--size, --opset and --with-preprocessing are about ONNX: add --formats onnx')
    return args


def main(argv: list[str] | None = None) -> None:
    """Export."""
    args = parse_args(argv)
    network = open_network(args.checkpoint, args.config, args.choice)
    folder = args.out or args.checkpoint.parent / f'export_{network.name}'
    refuse_leftovers(folder, args.formats)
    print(network.description)
    with staged(folder) as partial:
        lines = [line for name in dict.fromkeys(args.formats) for line in write(name, network, partial, args)]
        write_card(network, args.checkpoint, partial, args.terms)
    lines.append(f'{folder / CARD}: the model card')
    print('\n'.join(line.replace(str(partial), str(folder)) for line in lines))


def write(name: str, network: PlainNetwork, folder: Path, args: argparse.Namespace) -> list[str]:
    """Write one format; returns the lines of the summary."""
    if name == 'safetensors':
        write_safetensors(network, folder)
        return [f'{folder / SAFETENSORS}: {len(network.state)} weights']
    if name == 'onnx':
        differences = write_onnx(network, folder / ONNX, args.size, args.opset, args.with_preprocessing)
        size = f'{args.size[0]}x{args.size[1]} (height x width)' if args.size else 'any size'
        return [f'{folder / ONNX}: images of {size}',
                *(f'  input of {shape}: logits differ from PyTorch by at most {value:.2g}'
                  for shape, value in differences.items())]
    report = write_mmseg(network, folder)
    lines = [f'{folder / WEIGHTS} and its config.py: logits differ from the original by at most '
             f'{report.difference:.2g}']
    if report.foreign:
        lines.append('  NOT STOCK: needs the installed ' + ', '.join(report.packages) + ', which the config imports, '
                     'for ' + ', '.join(report.foreign))
    else:
        lines.append('  stock: mmseg alone loads it')
    if report.paths:
        lines.append('  the config names files, which must be there: ' + ', '.join(report.paths))
    return lines
