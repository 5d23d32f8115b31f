"""Work folders as trainings leave them, written without a training."""

import json
from pathlib import Path

import torch

from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from tests.export.networks import noise, resnet, trained
from tests.models import tiny
from tests.world import config

HEAD = '2026/01/02 03:04:{:02} - mmengine - {} - {}\n'
ENVIRONMENT = ''.join(f'    {line}\n' for line in (
    'Python: 3.11.7 (main, May  9 2026) [GCC 12]', 'PyTorch: 2.8.0', 'GPU 0: Accelerator', 'seed: 3'))


def step(iteration: int, **values: float) -> dict:
    """A line of scalars.json about a training step."""
    return dict(values, loss=2.0 / iteration, iter=iteration, step=iteration)


def validation(iteration: int, **values: float) -> dict:
    """A line about a validation."""
    return dict(values, step=iteration)


def write_run(folder: Path, run: str = '20260102_030400', lines: list = (), log: str = '') -> Path:
    """Scalars (dicts, or text as it is) and log of one run; returns its folder."""
    data = folder / run / 'vis_data'
    data.mkdir(parents=True, exist_ok=True)
    data.joinpath('scalars.json').write_text(''.join(
        line if isinstance(line, str) else json.dumps(line) + '\n' for line in lines))
    if log:
        (folder / run / f'{run}.log').write_text(log)
    return folder / run


def write_training(folder: Path, world: Path, method: str = 'DACS', miou: float = 30.0, network: bool = True,
                   classes: tuple[str, ...] = CLASSES, warning: str = 'the disk is slow') -> Path:
    """A complete work folder; the network has random weights."""
    segmentor = tiny.encoder_decoder(resnet(), tiny.fcn(64, num_classes=19))
    cfg = config(world, folder, method=method, segmentor=segmentor)
    metrics = {'mIoU': miou, **{f'IoU.{name}': miou + index for index, name in enumerate(classes)}}
    log = (HEAD.format(0, 'INFO', '\n' + ENVIRONMENT) + HEAD.format(1, 'INFO', 'Command (mmseg_camix 1.0): python x.py')
           + HEAD.format(2, 'INFO', 'Iter(train) [1/7]') + HEAD.format(9, 'WARNING', warning))
    run = write_run(folder, lines=[step(1, **{'pseudo/q': 0.5}), step(7, **{'pseudo/q': 0.9})], log=log)
    (run / 'vis_data/config.py').write_text(cfg.pretty_text)
    (folder / 'cfg.py').write_text(cfg.pretty_text)
    record = dict(val=[dict(iteration=3, metrics=dict(metrics, mIoU=miou - 5)), dict(iteration=7, metrics=metrics)],
                  finished=True)
    (folder / 'metrics.json').write_text(json.dumps(record))
    if network:
        write_checkpoint(folder, segmentor, cfg.pretty_text, method, classes)
    return folder


def write_checkpoint(folder: Path, segmentor: dict, text: str, method: str, classes: tuple[str, ...]) -> None:
    """``iter_7.pth``, with the counts of CollapseHook."""
    path, _ = trained(folder, segmentor, method)
    (folder / 'config.py').unlink()
    state = torch.load(path, weights_only=True)['state_dict']
    counts = [*range(19), *range(19, 0, -1), 1, 1, 1, 1]
    save_checkpoint(dict(
        state_dict=state, meta=dict(iter=7, cfg=text, dataset_meta=dict(classes=classes, palette=PALETTE)),
        message_hub=dict(runtime_info=dict(collapse=dict(mean=counts)))), str(path))


def sheet(folder: Path) -> None:
    """A picture of a training step."""
    import cv2
    (folder / 'live').mkdir()
    cv2.imwrite(str(folder / 'live/iter_3.png'), noise())
