#!/usr/bin/env python
"""Compute a step again whose loss or gradients were not finite, and name the first number that is not.

The config is the one that the training has written into its work folder.

examples:
  python tools/replay_step.py work_dirs/x/config.py work_dirs/x/nonfinite/iter_120.pth
  python tools/replay_step.py CONFIG FILE --checkpoint work_dirs/x/iter_100.pth   # other weights
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import DictAction

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.watch.replay import replay


def main() -> None:
    """Replay the step; the exit code is 1 where everything turned out finite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('file', type=Path, help='<work_dir>/nonfinite/iter_N.pth, the inputs of the step')
    parser.add_argument('--checkpoint', type=Path,
                        help='weights (default: those that lie beside FILE, which are the step\'s own)')
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: the GPU, if there is one)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config')
    args = parser.parse_args()
    try:
        found, report = replay(load_config(args.config, args.cfg_options), args.file, args.checkpoint, args.device)
    except (OSError, ValueError, CheckpointError) as error:
        raise SystemExit(str(error)) from None
    print(report)
    raise SystemExit(0 if found else 1)


if __name__ == '__main__':
    main()
