"""The live view: the views of a training step as panels of images, labels, weights and significance on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import cv2
import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from mmseg_camix.models.step import Step

from . import sheets
from .sheets import FAINT, GAP, LINE, MARGIN, NAME, TITLE, Sheet, outline, resize, text_width, tint

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


HEAD = 78  # pixels above the first row of tiles
KINDS = dict(image='images', labels='labels', weight='weights', significance='significance')


@dataclass(frozen=True)
class Layout:
    """Positions of the tiles in pixels."""

    kinds: tuple[str, ...]  # keys of KINDS, one column each
    width: int
    height: int
    left: int  # x of the first tile, right of the names

    @classmethod
    def of(cls, panels: Sequence[Panel], width: int) -> Self:
        """The layout of panels with tiles of this width."""
        widest = max(max(text_width(_words(panel.name), NAME, bold=True), *map(text_width, panel.notes), 0)
                     for panel in panels)
        height, wide = panels[0].images[0].shape[:2]
        kinds = tuple(kind for kind, name in KINDS.items() if any(getattr(panel, name) for panel in panels))
        return cls(kinds, width, round(width * height / wide), MARGIN + widest + 3 * GAP)

    def corner(self, index: int, column: int, row: int) -> tuple[int, int]:
        """The upper left corner of the tile of an image of the batch."""
        group = len(self.kinds) * (self.width + GAP) + 2 * GAP
        return self.left + index * group + column * (self.width + GAP), HEAD + row * (self.height + GAP)


def compose(panels: Sequence[Panel], title: str, facts: str, classes: Sequence[str], palette: Sequence,
            width: int = 192) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB: a row per view; per image of the batch its image, labels, weights, significance.

    Args:
        panels: the views.
        title: large text at the top, with `facts` in small letters below it.
        classes: names of all classes, and `palette` their RGB colours.
        width: width of a tile in pixels.
    """
    layout, sheet = Layout.of(panels, width), Sheet()
    sheet.text(MARGIN, 10, title, TITLE, bold=True)
    sheet.text(MARGIN, 36, facts, colour=FAINT)
    for row, panel in enumerate(panels):
        y = layout.corner(0, 0, row)[1]
        sheet.text(MARGIN, y + 2, _words(panel.name), NAME, bold=True)
        for line, note in enumerate(panel.notes):
            sheet.text(MARGIN, y + 24 + 16 * line, _words(note), colour=FAINT)
        for index, (column, kind) in product(range(len(panel.images)), enumerate(layout.kinds)):
            x, _ = layout.corner(index, column, row)
            if row == 0:
                sheet.text(x, y - 20, kind)
            if getattr(panel, KINDS[kind]) is not None:
                sheet.picture(x, y, _tile(panel, kind, index, layout))
    present = sorted(set().union(*(panel.classes for panel in panels)))
    sheet.legend(MARGIN, layout.corner(0, 0, len(panels))[1] + GAP,
                 [(classes[index], tuple(palette[index])) for index in present], sheet.right)
    _explain(sheet, panels)
    return sheet.render()


def _tile(panel: Panel, kind: str, index: int, layout: Layout) -> np.ndarray:
    if kind == 'labels':
        return resize(panel.labels[index], layout.width, smooth=False)
    if kind == 'weight':
        return resize(_shade(panel.weights[index]), layout.width, smooth=False)
    picture = resize(panel.images[index], layout.width)
    if kind == 'significance':
        return tint(picture, panel.significance[index])
    return picture if panel.regions is None else outline(picture, panel.regions[index])


def _shade(weight: np.ndarray) -> np.ndarray:
    """Weights (H, W) in [0, 1] as colours from nearly white to dark blue."""
    return (255 * matplotlib.colormaps['Blues'](0.04 + 0.9 * weight)[..., :3]).round().astype(np.uint8)


def _explain(sheet: Sheet, panels: Sequence[Panel]) -> None:
    """Place a last line that explains colours and outlines."""
    x, y = MARGIN, sheet.bottom + LINE - 8
    if any(panel.weights is not None for panel in panels):
        x = sheet.text(x, y, 'weight 0') + GAP
        sheet.picture(x, y + 2, _shade(cv2.resize(np.array([[0.0, 1.0]]), (84, 12))))
        x = sheet.text(x + 84 + GAP, y, '1') + 5 * GAP
    if any(panel.regions is not None for panel in panels):
        x = sheet.text(x, y, 'white outline: mask') + 5 * GAP
    if any(panel.significance is not None for panel in panels):
        sheet.text(x, y, 'red: not significant')


def _words(name: str) -> str:
    return name.replace('_', ' ')
