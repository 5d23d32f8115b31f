#!/usr/bin/env python
"""Measure how many images one core makes ready per second: mmseg's pipeline, ours, and ours with the cache.

The images are drawn (tools/dataset/make_mini.py) at the true sizes of GTA and Cityscapes and given a lens'
blur and a sensor's noise, so that decoding them takes as long as photographs. It is checked that all
variants give the same pixels. Times are CPU times in turns, so that other programs matter little.

examples:
  python tools/analysis/benchmark_input.py
  python tools/analysis/benchmark_input.py --formats          # of the cache, compared
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_camix.analysis.input_formats import compare_formats
from mmseg_camix.analysis.input_photos import SIZES, facts, write_photos
from mmseg_camix.analysis.input_timing import InputTiming, time_crops, time_input

CONFIGS = {'DACS': 'configs/_base_/datasets/gta2cs_512.py', 'DAFormer': 'configs/_base_/datasets/gta2cs_512_flip.py'}
ROOT = Path(__file__).resolve().parents[2]


def main(argv: list[str] | None = None) -> None:
    """Draw, compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/input_benchmark'),
                        help='folder for the images, which are drawn once (default: %(default)s)')
    parser.add_argument('--images', type=int, default=4, help='of each set (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=10, help='turns that count (default: %(default)s)')
    parser.add_argument('--formats', action='store_true', help='compare formats of the cache instead')
    args = parser.parse_args(argv)
    init_default_scope('mmseg')
    write_photos(args.out, args.images)
    if args.formats:
        print(compare_formats(args.out, args.rounds))
        return
    timings, crops = [], []
    for protocol, path in CONFIGS.items():
        dataset = Config.fromfile(ROOT / path).train_dataloader.dataset
        for family, branch in (('gta', 'source'), ('cityscapes', 'target')):
            config = dict(dataset[branch].to_dict(), data_root=str(args.out / family))
            title = f'{family}, {protocol}'
            timings.append(time_input(title, config, family, args.rounds))
            if branch == 'source' and protocol == 'DAFormer':
                crops.append(time_crops(f'{family}, ten crops of an image', config, 10, args.rounds))
    print('\n'.join([InputTiming.header(), *(timing.row() for timing in timings)]))
    print('\n'.join(['', InputTiming.header(('loaded ten times', 'loaded once', 'cache')),
                     *(timing.row() for timing in crops), '']))
    for timing in timings:
        print(f'{timing.title}: the cache has {timing.cache_bytes / 1e6:.2f} MB an image')
    print('\n'.join(facts(args.out, name) for name in SIZES))


if __name__ == '__main__':
    main()
