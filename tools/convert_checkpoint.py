#!/usr/bin/env python
"""Turn a published checkpoint of DACS, CAMix, RCCR, DSP, DAFormer, HRDA or MIC into one of ours.

Says what became of every name in the file, and writes nothing unless every weight of our network has
found its own. The result is a plain segmentor: it loads into the config's segmentor, or as the
student of any method around it.

examples:
  python tools/convert_checkpoint.py configs/daformer/gta2cs_daformer.py daformer.pth ours.pth
  python tools/convert_checkpoint.py configs/dacs/gta2cs_deeplabv2.py dacs.pth ours.pth --network teacher
  python tools/convert_checkpoint.py configs/daformer/gta2cs_daformer.py hrda.pth ours.pth \\
      --allow-unmapped decode_head.scale_attention.
  python tools/test.py configs/source_only/gta2cs_daformer.py ours.pth
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmseg_camix.engine.checkpoint.errors import CheckpointError
from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.weights import WeightsError
from mmseg_camix.engine.weights.initialiser import read_weights
from mmseg_camix.engine.weights.published import NETWORKS, network_of_file, segmentor_weights


def parse_args() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a config with the same network; the method plays no part')
    parser.add_argument('checkpoint', help='the published file')
    parser.add_argument('out', help='the file to write')
    parser.add_argument('--network', choices=list(NETWORKS), default='student',
                        help='which network, where the file has two (default: %(default)s, which the papers test)')
    parser.add_argument('--allow-unmapped', nargs='+', default=[], metavar='START',
                        help='starts of their names that may stay without a place')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    return parser.parse_args()


def build_segmentor(cfg: Config) -> nn.Module:
    """The plain segmentor of a config, adapted or not."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return MODELS.build(cfg.model.segmentor if 'segmentor' in cfg.model else cfg.model)


def main() -> int:
    """Convert; returns the exit code."""
    args = parse_args()
    if not Path(args.checkpoint).is_file():
        print(f'error: no checkpoint at {args.checkpoint}', file=sys.stderr)
        return 1
    segmentor = build_segmentor(load_config(args.config, args.cfg_options))
    try:
        state = network_of_file(read_weights(args.checkpoint), args.network, args.checkpoint)
        weights, report = segmentor_weights(state, segmentor, args.network, args.allow_unmapped)
    except (WeightsError, CheckpointError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print('\n'.join(report.lines()))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=weights, meta=dict(converted_from=Path(args.checkpoint).name)), args.out)
    print(f'wrote {len(weights)} weights to {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
