#!/usr/bin/env python
"""Draw the miniature benchmark, train three methods on it, print a table, draw a picture.

A complete benchmark is not drawn again and a finished training is not repeated; an interrupted training resumes.
The table shows the target mIoU, the picture input, ground truth and predictions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS

from mmseg_camix.cli import positive_int
from mmseg_camix.cli import run as run_tool
from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.engine.config import move_data_root
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.visualization.sheets import comparison, grid, write_png
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
    # mmseg's reminder of a default, for every network whose picture is drawn.
    warnings.filterwarnings('ignore', message='Default ``avg_non_ignore``')
    run([TOOLS / 'dataset/make_mini.py', '--out', args.data])
    if not (args.data / PRIOR).is_file():  # CAMix needs the spatial prior of the source
        run([TOOLS / 'dataset/build_spatial_prior.py', CONFIGS['CAMix'], '--out', args.data / PRIOR,
             '--cfg-options', f'data_root={args.data}'])
    trained = {}
    for name, config in CONFIGS.items():
        trained[name] = train(name, config, args)
    print('\n' + table(trained))
    picture = args.picture or args.work_dir / 'demo.png'
    networks = {name: (CONFIGS[name], last_checkpoint(folder)) for name, folder in trained.items()}
    draw_comparison(networks, args.data, picture)
    print(f'\nInput, ground truth and predictions: {picture}')


def train(name: str, config: str, args: argparse.Namespace) -> Path:
    """Train one method unless it is finished; returns its work folder."""
    folder = args.work_dir / name.replace(' ', '_')
    if read_record(folder)['finished']:
        print(f'{name}: already trained ({folder})')
        return folder
    options = [f'data_root={args.data}']
    if args.iters:
        options += [f'train_cfg.max_iters={args.iters}', f'param_scheduler.1.end={args.iters}']
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


def last_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a work folder."""
    return Path((folder / 'last_checkpoint').read_text().strip())


def table(trained: dict[str, Path]) -> str:
    """Target mIoU of both networks."""
    lines = [f'{"target mIoU (%)":<18}{"student":>10}{"teacher":>10}']
    for name, folder in trained.items():
        metrics = read_record(folder)['val'][-1]['metrics']
        cells = [f'{metrics[key]:>10.1f}' if (key := f'{network}/mIoU') in metrics else f'{"-":>10}'
                 for network in ('student', 'teacher')]
        lines.append(f'{name:<18}{"".join(cells)}')
    return '\n'.join(lines)


@torch.no_grad()
def predict(config: str, checkpoint: Path, samples: list[dict]) -> list[np.ndarray]:
    """Train ids (H, W) of each sample, predicted by the network that the method is tested with."""
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu')
    model.eval()
    return [model.test_step(pseudo_collate([sample]))[0].pred_sem_seg.data[0].numpy() for sample in samples]


def draw_comparison(networks: dict[str, tuple[str, Path]], data_root: Path, path: Path, count: int = 4,
                    width: int = 384) -> None:
    """Write a picture with a row per image: the input, its ground truth, and each network's prediction.

    Args:
        networks: title -> (config file, checkpoint).
        data_root: folder of the data set, whose validation images are drawn.
        path: file to write.
        count: number of images, evenly spread over the set.
        width: width of each tile in pixels.
    """
    init_default_scope('mmseg')
    cfg = Config.fromfile(next(iter(networks.values()))[0])
    move_data_root(cfg, str(data_root))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    samples = [dataset[index] for index in spread_indices(len(dataset), count)]
    labels = {'ground truth': [sample['data_samples'].gt_sem_seg.data[0].numpy() for sample in samples]}
    labels.update({title: predict(config, checkpoint, samples) for title, (config, checkpoint) in networks.items()})
    images = [sample['inputs'].permute(1, 2, 0).numpy()[..., ::-1] for sample in samples]
    write_png(path, grid(comparison(images, labels, dataset.metainfo['palette'], width)))


if __name__ == '__main__':
    run_tool(main)
