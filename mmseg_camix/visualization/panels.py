"""What a training step has made, as plain pictures: images, labels, weights, significance of each view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_camix.models.step import Step, Target

from . import sheets

BRANCHES = ('source', 'target')


@dataclass(frozen=True)
class Panel:
    """One view, as pictures of its first images; lists of one array for each image."""

    name: str
    notes: tuple[str, ...]
    """What stands below its name."""
    images: list[np.ndarray]
    """(H, W, 3) uint8 BGR."""
    regions: list[np.ndarray] | None = None
    """(H, W) bool: what was pasted."""
    labels: list[np.ndarray] | None = None
    """(H, W, 3) uint8 BGR, in the data set's palette; ignored pixels are black."""
    weights: list[np.ndarray] | None = None
    """(H, W) float in [0, 1]."""
    significance: list[np.ndarray] | None = None
    """(H, W) bool: CAMix's U."""
    classes: frozenset[int] = frozenset()
    """Those in the labels."""


@torch.no_grad()
def panels_of(step: Step, model: nn.Module, palette: Sequence, count: int) -> list[Panel]:
    """The source, the target, and all that the student sees besides.

    Args:
        step: with its views, masks and passes.
        model: the adapted model that made it.
        palette: RGB colour of each class.
        count: images of the batch that are shown.
    """
    names = [name for name in (*BRANCHES, *step.passes) if name in step.views]
    return [_panel(step, model, name, palette, count) for name in dict.fromkeys(names)]


def _panel(step: Step, model: nn.Module, name: str, palette: Sequence, count: int) -> Panel:
    view, shown = step.views[name], model.data_preprocessor
    images = [sheets.bgr(image, shown.mean, shown.std, shown.channel_order) for image in view.image[:count]]
    builder = _builder(step, model, name)
    regions = None
    if builder is not None and builder.mask is not None:
        regions = list(step.masks[builder.mask][:count, 0].cpu().numpy())
    notes = _notes(step, builder, name)
    if not view.targets:
        return Panel(name, (*notes, 'no labels'), images, regions)
    targets = [_on_host(target, count) for target in view.targets]
    weight = sum(target.weight for target in targets)
    if view.scale is not None:
        weight = weight * view.scale[:count].float().cpu()
    classes = frozenset(torch.cat([target.label.flatten() for target in targets]).unique().tolist())
    return Panel(name, notes, images, regions, _colours(targets, palette), list(weight.clamp(0, 1).numpy()),
                 _significance(targets), classes & frozenset(range(step.num_classes)))


def _on_host(target: Target, count: int) -> Target:
    significance = None if target.significance is None else target.significance[:count].cpu()
    return Target(target.label[:count].cpu(), target.weight[:count].float().cpu(), None, significance)


def _significance(targets: list[Target]) -> list[np.ndarray] | None:
    known = [target.significance for target in targets if target.significance is not None]
    return list((known[0] > 0).numpy()) if known else None


def _colours(targets: list[Target], palette: Sequence) -> list[np.ndarray]:
    """Several labels at a pixel (a soft paste) are mixed by their weights."""
    table = torch.zeros(256, 3)
    table[:len(palette)] = torch.tensor(np.array(palette), dtype=torch.float32)
    colours = [table[target.label.clamp(0, 255)] for target in targets]
    if len(colours) == 1:
        mixed = colours[0]
    else:
        weights = torch.stack([target.weight for target in targets])[..., None]
        mixed = (torch.stack(colours) * weights).sum(0) / weights.sum(0).clamp_min(1e-12)
    return [one.flip(-1).round().byte().numpy() for one in mixed]


def _builder(step: Step, model: nn.Module, name: str) -> nn.Module | None:
    """What has made a view; behind a switch, the view that it has chosen. None for a branch."""
    while name in model.views:
        builder = model.views[name]
        reads = builder.reads_at(step.progress)
        if builder.mask is not None or len(reads) > 1 or reads[0] not in model.views:
            return builder
        name = reads[0]
    return None


def _notes(step: Step, builder: nn.Module | None, name: str) -> tuple[str, ...]:
    if name == 'source':
        return ('ground truth',)
    if name == 'target':
        q: Tensor | None = step.statistics.get('pseudo/q')
        return () if q is None else ('pseudo-labels', f'q = {float(q):.2f}')
    if builder is None:
        return ()
    if hasattr(builder, 'donor'):
        return (f'{builder.donor} over', builder.over)
    return (f'of {builder.reads_at(step.progress)[0]}',)
