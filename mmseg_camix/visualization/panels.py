"""The views of a training step as plain pictures: images, labels, weights and significance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_camix.models.step import Step

from . import sheets

BRANCHES = ('source', 'target')


@dataclass(frozen=True)
class Panel:
    """A view as pictures of its first images: each list has one array per image."""

    name: str
    notes: tuple[str, ...]  # lines below the name
    images: list[np.ndarray]  # (H, W, 3) uint8 RGB
    regions: list[np.ndarray] | None = None  # (H, W) bool, what was pasted
    labels: list[np.ndarray] | None = None  # (H, W, 3) uint8 RGB in the palette; ignored pixels are black
    weights: list[np.ndarray] | None = None  # (H, W) float in [0, 1]
    significance: list[np.ndarray] | None = None  # (H, W) bool, CAMix's mask U
    classes: frozenset[int] = frozenset()  # in the labels


@torch.no_grad()
def panels_of(step: Step, model: nn.Module, palette: Sequence, count: int) -> list[Panel]:
    """Panels of the source, the target and all views that the student was trained on.

    Args:
        step: a finished step.
        model: the adapted model that made it.
        palette: RGB colour of each class.
        count: maximum number of images per panel.
    """
    names = [name for name in (*BRANCHES, *step.passes) if name in step.views]
    return [_panel(step, model, name, palette, count) for name in dict.fromkeys(names)]


def _panel(step: Step, model: nn.Module, name: str, palette: Sequence, count: int) -> Panel:
    view = step.views[name]
    images = [sheets.denormalise(image, model.data_preprocessor) for image in view.image[:count]]
    builder = _builder(step, model, name)
    regions = None
    if builder is not None and builder.mask is not None:
        regions = list(step.masks[builder.mask][:count, 0].cpu().numpy())
    notes = _notes(step, builder, name)
    if not view.targets:
        return Panel(name, (*notes, 'no labels'), images, regions)
    labels = torch.stack([target.label[:count].cpu() for target in view.targets])
    weights = torch.stack([target.weight[:count].float().cpu() for target in view.targets])
    scale = 1 if view.scale is None else view.scale[:count].float().cpu()
    classes = set(labels.unique().tolist()) & set(range(step.num_classes))
    masks = [target.significance for target in view.targets if target.significance is not None]
    return Panel(name, notes, images, regions, _colours(labels, weights, palette),
                 list((weights.sum(0) * scale).clamp(0, 1).numpy()),
                 list((masks[0][:count] > 0).cpu().numpy()) if masks else None, frozenset(classes))


def _colours(labels: Tensor, weights: Tensor, palette: Sequence) -> list[np.ndarray]:
    """Colours of labels (T, B, H, W); the T labels of a pixel (a soft paste) are mixed by their weights."""
    pictures = [np.stack([sheets.colourise(label, palette) for label in batch]) for batch in labels.numpy()]
    if len(pictures) == 1:
        return list(pictures[0])
    shares = (weights / weights.sum(0).clamp_min(1e-12)).numpy()[..., None]
    return list(sum(share * picture for share, picture in zip(shares, pictures)).round().astype(np.uint8))


def _builder(step: Step, model: nn.Module, name: str) -> nn.Module | None:
    """The builder of a view (behind a switch, that of the view it selected); None for a branch."""
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
