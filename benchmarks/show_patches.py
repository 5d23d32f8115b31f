#!/usr/bin/env python
"""Draw what DSP pastes, and plot how often each class is seen with and without long-tail sampling.

The picture shows templates, long-tail pixels, the mask of the patch, and both pastes. The plot compares
the source images, the half of the template's classes, and the whole patch. Nothing is trained.

examples:
  python -m benchmarks.show_patches configs/dsp/mini_gta2cs_tiny.py --picture docs/images/dsp_patches.png
  python -m benchmarks.show_patches CONFIG --exposure docs/images/dsp_exposure.png --samples 1000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction

from benchmarks.patches import class_exposure, draw_patches, plot_exposure
from mmseg_camix.datasets import CLASSES
from mmseg_camix.engine.config import load_config


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a DSP training')
    parser.add_argument('--picture', type=Path, help='file of the picture')
    parser.add_argument('--exposure', type=Path, help='file of the plot')
    parser.add_argument('--count', type=int, default=4, help='lines of the picture (default: 4)')
    parser.add_argument('--samples', type=int, default=400, help='samples that are counted (default: 400)')
    parser.add_argument('--seed', type=int, default=0, help='which samples (default: 0)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    if not (args.picture or args.exposure):
        parser.error('nothing to do; give --picture FILE, --exposure FILE, or both')
    cfg = load_config(args.config, args.cfg_options)
    if cfg.train_dataloader.dataset.get('rare') is None:
        parser.error(f"{args.config} has no branch 'rare' of long-tail pixels; take one of configs/dsp")
    if args.picture:
        draw_patches(cfg, args.picture, args.count, seed=args.seed)
    if args.exposure:
        exposure = class_exposure(cfg, args.samples, args.seed)
        plot_exposure(exposure, CLASSES, args.exposure)
        print(f'{"share of samples (%)":<16}' + ''.join(f'{name:>36}' for name in exposure))
        for row in zip(CLASSES, *exposure.values()):
            print(f'{row[0]:<16}' + ''.join(f'{100 * share:>36.1f}' for share in row[1:]))


if __name__ == '__main__':
    main()
