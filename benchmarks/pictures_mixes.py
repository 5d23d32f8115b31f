"""What CAMix does, to look at: its mixed images, and its significance mask over a training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix.files import atomic_write
from mmseg_camix.visualization import sheets
from mmseg_camix.visualization.sheets import colourised

from .timing import Training

VIEWS = {'DACS: source over target': ('classmix', 'classes'), 'CAMix: target over source': ('camix', 'context')}
DROPPED = np.array((60, 60, 230))  # red, in BGR


def _looked_at(cfg: Config, checkpoint: str | Path | None, count: int, start: int = 0) -> tuple[Training, dict]:
    """A model in training on a batch of ``count`` crops that is always the same."""
    cfg = copy.deepcopy(cfg)
    if cfg.model.type != 'CAMix':
        raise SystemExit(f'{cfg.model.type} is not CAMix; give a config of configs/camix/')
    cfg.train_dataloader.update(batch_size=count, num_workers=0, persistent_workers=False)
    cfg.model.augment = dict(jitter_probability=0.0, blur_probability=0.0)  # mixes are easier to see without
    training = Training.of(cfg, checkpoint)
    training.model.train()
    for _ in range(start + 1):
        batch = next(training.batches)
    return training, training.model.data_preprocessor(batch, True)


@torch.no_grad()
def draw_mixes(cfg: Config, checkpoint: str | Path | None, path: Path, count: int = 4, width: int = 240,
               start: int = 0) -> None:
    """Write a picture: source, target, DACS's mix and CAMix's mix, with the labels below each.

    Args:
        cfg: a config of CAMix, with its data.
        checkpoint: weights; None shows the pseudo-labels of an untrained network.
        path: file to write.
        count: pairs of images.
        width: of each tile in pixels.
        start: batches that are passed over.
    """
    training, batch = _looked_at(cfg, checkpoint, count, start)
    model = training.model
    model.set_progress(start, 1 + start)
    step = model._begin(**batch)
    model._prepare(step, batch['inputs'], batch['data_samples'])
    for view, mask in VIEWS.values():
        step.masks.setdefault(mask, model.masks[mask](step))
        step.views.setdefault(view, model.views[view](step))
    metainfo = training.metainfo
    columns, seen = [], set()
    for title, (name, mask) in {'source, ground truth': ('source', None), 'target, pseudo-label': ('target', None),
                                **VIEWS}.items():
        view = step.views[name]
        region = None if mask is None else step.masks[mask][:, 0].cpu().numpy()
        labels = view.target.label.cpu().numpy()
        seen.update(np.unique(labels).tolist())
        tiles = [sheets.header([title], width)]
        for index, image in enumerate(_pictures(model, view.image)):
            label = colourised(labels[index], metainfo['palette'])
            tiles += [sheets.tile(image, width) if region is None else sheets.outlined(image, region[index], width),
                      sheets.tile(label, width, smooth=False)]
        columns.append(np.vstack(tiles))
    sheet = np.hstack(columns)
    classes = metainfo['classes']
    names = sheets.legend(sorted(seen & set(range(len(classes)))), classes, metainfo['palette'], sheet.shape[1])
    _write(path, np.vstack([sheet, names]))


@torch.no_grad()
def draw_significance(cfg: Config, checkpoints: Sequence[str | Path], path: Path, count: int = 3, width: int = 240,
                      start: int = 0) -> list[str]:
    """Write a picture: target crops, and below each checkpoint what it drops (red) and its entropy.

    Args:
        cfg: a config of CAMix, with its data.
        checkpoints: of one training, in the order of the picture.
        path: file to write.
        count: crops.
        width: of each tile in pixels.
        start: batches that are passed over.

    Returns:
        one line per checkpoint: iteration, threshold, kept share.
    """
    columns, report = [], []
    for checkpoint in checkpoints:
        iteration = int(read_checkpoint(str(checkpoint)).get('meta', {}).get('iter', 0))
        training, batch = _looked_at(cfg, checkpoint, count, start)
        model, image = training.model, batch['inputs']['target']
        model.set_progress(iteration, cfg.train_cfg.max_iters)
        step = model._begin(**batch)
        step.teacher, step.teacher_logits = model.teacher, model.teacher(image)
        significance = model.pseudo_labels.significance
        kept = significance(step, image).cpu().numpy()
        threshold = float(significance.statistics()['significance/threshold'])
        pictures = _pictures(model, image)
        lines = [f'iteration {iteration}', f'R = {threshold:.2f}, {kept.mean():.0%} kept']
        if not columns:
            tiles = [(sheets.tile(one, width), _explained(one, width)) for one in pictures]
            columns.append(_column(['target crop', 'red: dropped'], tiles, width))
        tiles = [(sheets.tile(_tinted(one, mask), width),
                  sheets.tile(_heat(entropy, model.num_classes), width, smooth=False))
                 for one, mask, entropy in zip(pictures, kept, significance.entropy)]
        columns.append(_column(lines, tiles, width))
        report.append(f'{checkpoint}: {", ".join(lines)}')
    _write(path, np.hstack(columns))
    return report


def _column(lines: Sequence[str], tiles: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> np.ndarray:
    return np.vstack([sheets.header(lines, width), *(one for pair in tiles for one in pair)])


def _explained(picture: np.ndarray, width: int) -> np.ndarray:
    """An empty tile that says what is beside it."""
    field = np.full_like(sheets.tile(picture, width), sheets.PAPER)
    text = sheets.header(['entropy', 'black: 0, yellow: ln C'], width)[:len(field)]
    field[:len(text)] = text
    return field


def _pictures(model: torch.nn.Module, images: Tensor) -> list[np.ndarray]:
    shown = model.data_preprocessor
    return [sheets.bgr(image, shown.mean, shown.std, shown.channel_order) for image in images]


def _tinted(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Red where a pixel is dropped."""
    red = (0.35 * picture + 0.65 * DROPPED).round().astype(np.uint8)
    return np.where(kept[..., None], picture, red)


def _heat(entropy: Tensor, num_classes: int) -> np.ndarray:
    """(h, w) entropy, dark at 0 and bright at ln C."""
    share = entropy.cpu() / torch.tensor(float(num_classes)).log()
    return cv2.applyColorMap((255 * share.clamp(0, 1)).byte().numpy(), cv2.COLORMAP_INFERNO)


def _write(path: Path, sheet: np.ndarray) -> None:
    atomic_write(path, cv2.imencode('.png', sheet)[1].tobytes())
