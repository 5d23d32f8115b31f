"""Cache the images and labels of a training as they are after loading and resizing, for fast input.

Builds lossless caches of all datasets on which the config trains (FolderDataset and the readers of the public sets) in
DATA_ROOT/cache, or in the folder that their option `cache` names
(--cfg-options train_dataloader.dataset.source.cache=/fast/disk). It can be interrupted and restarted: it builds what is
missing or has changed.

examples:
  mmseg-camix cache configs/own.py
  mmseg-camix cache configs/dacs/gta2cs_daformer.py --jobs 8
"""

import argparse
import os
import sys

from mmengine.registry import init_default_scope

from mmseg_camix.cli import add_config_options
from mmseg_camix_tools.preparation.configured import NeededCache, fill_cache, needed_caches


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    parser.add_argument('--verify', action='store_true', help='read the whole cache again, and rebuild what is damaged')
    add_config_options(parser)
    return parser.parse_args(argv)


def build(cache: NeededCache, jobs: int, verify: bool) -> list[str]:
    """Build one cache, print its summary, and return what could not be read."""
    folder = os.path.join(cache.root, cache.option)
    report = fill_cache(cache.infos, cache.recipe, cache.root, folder, jobs, verify)
    print(f'{report.summary()} ({report.num_written} made now), of {cache.recipe.summary()}')
    return report.failures


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns its exit code."""
    args = parse_args(argv)
    init_default_scope('mmseg')
    needed, others = needed_caches(args.config, args.cfg_options)
    failures = [failure for cache in needed for failure in build(cache, args.jobs, args.verify)]
    for other in others:
        print(f'not cached: {other}; the option `cache` is of FolderDataset and the readers of this project, for '
              'pipelines that begin with loading and resizing')
    for failure in failures[:20]:
        print(f'error: {failure}', file=sys.stderr)
    if failures:
        print(f'{len(failures)} files could not be read (see above): repair them, and run the same command again',
              file=sys.stderr)
        return 1
    if needed:
        options = ' \\\n    '.join(f'{place}.cache={cache.option}' for cache in needed for place in cache.places)
        print(f'to use it:  mmseg-camix train {args.config} --cfg-options \\\n    {options}')
    return 0 if needed else 1
