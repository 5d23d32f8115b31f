"""Convert a published checkpoint of DACS, CAMix, RCCR, DSP, DAFormer, HRDA or MIC.

Reports how each name in the file was mapped, and writes nothing unless the file has all weights of the network. The
result is a plain segmentor: it loads into the config's segmentor, or as student and teacher of any method around it.
It contains its config and classes, so that `predict` and `export` need no config.

examples:
  mmseg-camix convert configs/daformer/gta2cs_daformer.py daformer.pth ours.pth
  mmseg-camix convert configs/dacs/gta2cs_deeplabv2.py dacs.pth ours.pth --network teacher
  mmseg-camix convert configs/hrda/gta2cs_hrda.py hrda.pth ours.pth
  mmseg-camix convert configs/daformer/gta2cs_daformer.py hrda.pth one_scale.pth \\
      --allow-unmapped decode_head.scale_attention.
  mmseg-camix test configs/source_only/gta2cs_daformer.py ours.pth
  mmseg-camix predict ours.pth photos --out predicted
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_camix.cli import add_config_options
from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.checkpoint.config_text import format_config
from mmseg_camix.engine.config import load_config
from mmseg_camix.files import printable
from mmseg_camix_tools.export.files import mmseg_config
from mmseg_camix_tools.export.plain import plain_network
from mmseg_camix_tools.export.segmentor import plain_segmentor
from mmseg_camix.weights import WeightsError
from mmseg_camix.weights.fitting import State
from mmseg_camix.weights.initialiser import read_weights
from mmseg_camix.weights.published import NETWORKS, convert_weights, select_network


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a config with the same network, of any method')
    parser.add_argument('checkpoint', help='the published file')
    parser.add_argument('out', help='the file to write')
    parser.add_argument('--network', choices=list(NETWORKS), default='student',
                        help='network to convert, where the file has two (default: %(default)s, which the papers test)')
    parser.add_argument('--allow-unmapped', nargs='+', default=[], metavar='PREFIX',
                        help='prefixes of names in the file that may be left out')
    add_config_options(parser)
    args = parser.parse_args(argv)
    if Path(args.out).resolve() == Path(args.checkpoint).resolve():
        parser.error(f'{args.out} is the published file, which would be replaced; name another file')
    return args


def describe_network(weights: State, meta: Mapping, cfg: Config, source: str) -> dict:
    """Return the `meta` of the written file: the network's config, names and colours of its classes, and its source."""
    network = plain_network(dict(state_dict=weights, meta=meta), cfg, source=source)
    return dict(dataset_meta=dict(classes=network.classes, palette=network.palette),
                cfg=format_config(mmseg_config(network)[0]), converted_from=Path(source).name)


def main(argv: list[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    if not Path(args.checkpoint).is_file():
        raise SystemExit(f'no checkpoint at {args.checkpoint}')
    cfg = load_config(args.config, args.cfg_options)
    theirs = read_weights(args.checkpoint)
    state = select_network(theirs, args.network, args.checkpoint)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    segmentor = MODELS.build(plain_segmentor(cfg))
    try:
        weights, report = convert_weights(state, segmentor, args.network, args.allow_unmapped)
    except WeightsError as error:
        raise WeightsError(f'{args.checkpoint}: {error}') from None
    print('\n'.join(map(printable, report.lines())))  # names come from the file
    meta = describe_network(weights, theirs.get('meta') or {}, cfg, args.checkpoint)
    save_checkpoint(dict(state_dict=weights, meta=meta), args.out)
    print(f'wrote {len(weights)} weights to {args.out}')
