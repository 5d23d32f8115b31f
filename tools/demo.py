#!/usr/bin/env python
"""Draw the miniature benchmark, train three methods on it, print a table, draw a picture.

A complete benchmark is not drawn again and a finished training is not repeated; an interrupted training resumes.
The table shows the target mIoU, the picture input, ground truth and predictions.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from mmseg_camix.checkpoint import find_latest_checkpoint
from mmseg_camix.cli import positive_int
from mmseg_camix.cli import run as run_tool
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix_tools.processes import run_logged

TOOLS = Path(__file__).parent
CONFIGS = {
    'source only': 'configs/source_only/mini_gta2cs_tiny.py',
    'DACS': 'configs/dacs/mini_gta2cs_tiny.py',
    'CAMix': 'configs/camix/mini_gta2cs_tiny.py',
}
PRIOR = Path('priors/gta.npz')


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=_absolute, default=Path('data/mini'),
                        help='folder of the benchmark (default: %(default)s of this repository)')
    parser.add_argument('--work-dir', type=_absolute, default=Path('work_dirs/demo'),
                        help='folder of logs and checkpoints (default: %(default)s of this repository)')
    parser.add_argument('--picture', type=_absolute, help='picture to write (default: <work-dir>/demo.png)')
    parser.add_argument('--iters', type=positive_int, help="iterations of each training (default: the configs' own)")
    return parser.parse_args()


def _absolute(text: str) -> Path:
    """A path that stays the same when the working directory becomes the repository."""
    return Path(text).absolute()


def main() -> None:
    """Draw, train, compare."""
    args = parse_args()
    os.chdir(TOOLS.parent)
    run([TOOLS / 'dataset/make_mini.py', '--out', args.data])
    if not (args.data / PRIOR).is_file():  # CAMix needs the spatial prior of the source
        run([TOOLS / 'dataset/build_spatial_prior.py', CONFIGS['CAMix'], '--out', args.data / PRIOR,
             '--cfg-options', f'data_root={args.data}'])
    trained = {}
    for name, config in CONFIGS.items():
        trained[name] = train(name, config, args)
    print('\n' + table(trained))
    picture = args.picture or args.work_dir / 'demo.png'
    run(['-m', 'benchmarks.pictures', 'predictions', CONFIGS['CAMix'],
         *(find_latest_checkpoint(str(folder)) for folder in trained.values()), '--out', picture, '--width', 384,
         '--cfg-options', f'data_root={args.data}'])
    print(f'\nInput, ground truth and predictions: {picture}')


def train(name: str, config: str, args: argparse.Namespace) -> Path:
    """Train one method unless it is finished; returns its work folder."""
    folder = args.work_dir / name.replace(' ', '_')
    if read_record(folder)['finished']:
        print(f'{name}: already trained ({folder})')
        return folder
    options = [f'data_root={args.data}']
    if args.iters:
        warm_up = min(50, max(1, args.iters - 1))
        options += [f'train_cfg.max_iters={args.iters}', f'param_scheduler.0.end={warm_up}',
                    f'param_scheduler.1.begin={warm_up}', f'param_scheduler.1.end={max(2, args.iters)}']
    start = time.time()
    run([TOOLS / 'train.py', config, '--resume', '--work-dir', folder, '--cfg-options', *options],
        folder / 'train.txt', name)
    print(f'{name}: {(time.time() - start) / 60:.1f} minutes')
    return folder


def run(command: list, log: Path | None = None, title: str = '') -> None:
    """Run a tool; with a log file, write its output there and show a progress bar of its iterations."""
    if log is None:
        subprocess.run([sys.executable, *map(str, command)], check=True)
    else:
        run_logged(command, log, f'{title} (log: {log})')


def table(trained: dict[str, Path]) -> str:
    """Target mIoU of both networks."""
    lines = [f'{"target mIoU (%)":<18}{"student":>10}{"teacher":>10}']
    for name, folder in trained.items():
        metrics = read_record(folder)['val'][-1]['metrics']
        cells = [f'{metrics[key]:>10.1f}' if (key := f'{network}/mIoU') in metrics else f'{"-":>10}'
                 for network in ('student', 'teacher')]
        lines.append(f'{name:<18}{"".join(cells)}')
    return '\n'.join(lines)


if __name__ == '__main__':
    run_tool(main)
