"""What DSP pastes: a picture of its patches, and how often each class is seen because of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn

from mmseg_camix.files import atomic_write
from mmseg_camix.models.step import Step
from mmseg_camix.ops.masks import present_classes
from mmseg_camix.visualization.sheets import column

# Title -> what is shown; those that a variant of the method lacks are left out.
COLUMNS = {'template': 'donor', 'long-tail pixels': 'rare', 'source': 'source', 'pasted on the source': 'mixed_source',
           'target': 'target', 'pasted on the target': 'mixed_target'}


def example_steps(cfg: Config, samples: int, batch: int, seed: int = 0) -> Iterator[tuple[nn.Module, Step]]:
    """The untrained model of a config, with steps whose masks and views are made, until all samples were seen."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, seed=seed))
    model = MODELS.build(cfg.model).train()
    for first in range(0, samples, batch):
        model.set_progress(first, 100_000, seed)
        items = [dataset[position] for position in range(first, min(first + batch, samples))]
        data = model.data_preprocessor(pseudo_collate(items), True)
        step = model._begin(data['inputs'], data['data_samples'])
        with torch.no_grad():
            model._prepare(step, data['inputs'], data['data_samples'])
        yield model, step


def draw_patches(cfg: Config, path: Path, count: int = 4, width: int = 288, seed: int = 0) -> None:
    """Write a picture: template, long-tail pixels, the patch's mask, and both pastes, one line per sample.

    The pastes are shown without their colour jitter and blur.

    Args:
        cfg: config of a DSP training.
        path: file to write.
        count: lines.
        width: of each tile in pixels.
        seed: which samples.
    """
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({'model.augment': dict(jitter_probability=0.0, blur_probability=0.0)})
    model, step = next(example_steps(cfg, count, count, seed))
    columns = {title: _pictures(model, step.views[name].image) for title, name in COLUMNS.items() if name in step.views}
    rare = (step.views['rare'].target.label != step.ignore_index).numpy()
    columns['long-tail pixels'] = [np.where(mask[..., None], tile, 255)
                                   for tile, mask in zip(columns['long-tail pixels'], rare)]
    masks = {'mask of the patch': [np.repeat(one[0].numpy()[..., None], 3, 2).astype(np.uint8) * 255
                                   for one in step.masks['patch']]}
    ordered = [*list(columns.items())[:2], *masks.items(), *list(columns.items())[2:]]
    sheet = np.hstack([column(title, tiles, width) for title, tiles in ordered])
    atomic_write(path, cv2.imencode('.png', sheet)[1].tobytes())


def _pictures(model: nn.Module, image: Tensor) -> list[np.ndarray]:
    """(B, 3, H, W) as the network sees it -> (H, W, 3) uint8 BGR each."""
    known = model.data_preprocessor
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (known.mean, known.std))
    pixels = (image * std + mean).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return list(pixels[..., ::-1] if known.channel_order == 'rgb' else pixels)


def class_exposure(cfg: Config, samples: int = 200, seed: int = 0, batch: int = 8) -> dict[str, np.ndarray]:
    """In what share of the training samples each class is seen, (C,) each.

    Returns:
        'source images': in the source crop; 'patch without its long-tail pixels': in the half of the
        template's classes alone; 'patch': in all of the patch.
    """
    counts: dict[str, Tensor] = {}
    for _, step in example_steps(cfg, samples, batch, seed):
        for name, label in _seen(step).items():
            counts[name] = counts.get(name, 0) + present_classes(label, step.num_classes, step.ignore_index).sum(0)
    return {name: (total / samples).numpy() for name, total in counts.items()}


def _seen(step: Step) -> dict[str, Tensor]:
    source, template, rare = (step.views[name].target.label for name in ('source', 'donor', 'rare'))
    void, pasted = step.ignore_index, step.masks['patch'][:, 0]
    without = template.masked_fill(~pasted | (rare != void), void)
    return {'source images': source, 'patch without its long-tail pixels': without,
            'patch': torch.where(rare != void, rare, without)}


def plot_exposure(exposure: dict[str, np.ndarray], classes: list[str], path: Path) -> None:
    """Write bars of :func:`class_exposure`, rarest class first.

    Args:
        exposure: name of the bars -> (C,) shares.
        classes: their names.
        path: file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    order = np.argsort(next(iter(exposure.values())), kind='stable')
    figure, axes = plt.subplots(figsize=(9, 4), layout='constrained')
    height = 0.8 / len(exposure)
    for index, (name, shares) in enumerate(exposure.items()):
        axes.bar(np.arange(len(order)) + index * height - 0.4, 100 * shares[order], height, align='edge', label=name)
    axes.set_xticks(range(len(order)), [classes[c] for c in order], rotation=45, ha='right')
    axes.set(ylabel='samples that show the class (%)')
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
