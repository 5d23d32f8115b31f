"""Panels of a training step, laid out as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .panels import Panel

INK, FAINT, PAPER = (40, 40, 40), (130, 130, 130), (255, 255, 255)
DROPPED = np.array((60, 60, 230))  # red, in BGR
GAP, MARGIN, HEAD, LINE = 6, 12, 78, 22
TITLE, NAME, SMALL = 19, 15, 12
FRAME = (208, 208, 208)
EXPLAINED = 166  # width of a part of the last line
SCALE = 'weight 0'
KINDS = ('image', 'labels', 'weight', 'significance')


@dataclass(frozen=True)
class _Layout:
    """Where things are, in pixels."""

    kinds: tuple[str, ...]
    tile: tuple[int, int]
    """(width, height)."""
    side: int
    """Width of the names at the left."""
    count: int
    """Images of the batch."""

    @classmethod
    def of(cls, panels: Sequence[Panel], width: int) -> _Layout:
        picture = panels[0].images[0]
        texts = [_font(NAME, bold=True).getlength(_words(panel.name)) for panel in panels]
        texts += [_font(SMALL).getlength(_words(note)) for panel in panels for note in panel.notes]
        return cls(tuple(kind for kind in KINDS if any(_has(panel, kind) for panel in panels)),
                   (width, round(width * picture.shape[0] / picture.shape[1])), round(max(texts)) + 3 * GAP,
                   len(panels[0].images))

    @property
    def right(self) -> int:
        """Of the last tile."""
        return self.place(self.count - 1, len(self.kinds) - 1, 0)[0] + self.tile[0]

    def place(self, index: int, column: int, row: int) -> tuple[int, int]:
        """The upper left corner of a tile."""
        wide, high = (size + GAP for size in self.tile)
        group = len(self.kinds) * wide + 2 * GAP  # the tiles of one image of the batch
        return MARGIN + self.side + index * group + column * wide, HEAD + row * high


def compose(panels: Sequence[Panel], title: str, facts: str, classes: Sequence[str], palette: Sequence,
            width: int = 192) -> np.ndarray:
    """One row for each view, and for each image of the batch its picture, labels, weights and significance.

    Args:
        panels: the views.
        title: large, above all.
        facts: small, below the title.
        classes: names of all classes.
        palette: their RGB colours.
        width: of a tile in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    layout = _Layout.of(panels, width)
    entries = _entries(panels, classes, layout.right)
    bottom = layout.place(0, 0, len(panels))[1] + GAP
    lines = 1 + max((row for _, _, row in entries), default=0)
    right = max(layout.right, MARGIN + round(_font(SMALL).getlength(facts)),
                *(x + EXPLAINED for x, _ in _explained(panels)))
    page = Image.new('RGB', (right + MARGIN, bottom + lines * LINE + 30 + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 10), title, INK, _font(TITLE, bold=True))
    pen.text((MARGIN, 36), facts, FAINT, _font(SMALL))
    for row, panel in enumerate(panels):
        _name(pen, panel, layout.place(0, 0, row)[1])
        for index, (column, kind) in product(range(layout.count), enumerate(layout.kinds)):
            x, y = layout.place(index, column, row)
            if row == 0:
                pen.text((x, y - 20), kind, INK, _font(SMALL))
            if (tile := _tile(panel, kind, index, layout.tile)) is not None:
                _put(page, pen, tile, x, y)
    for index, x, row in entries:
        y = bottom + LINE * row + 2
        pen.rectangle((x, y, x + 14, y + 14), tuple(palette[index]))
        pen.text((x + 20, y), classes[index], INK, _font(SMALL))
    _explain(page, pen, bottom + lines * LINE + 8, panels)
    return np.asarray(page)


def _put(page: Image.Image, pen: ImageDraw.ImageDraw, tile: np.ndarray, x: int, y: int) -> None:
    page.paste(Image.fromarray(tile[..., ::-1]), (x, y))
    pen.rectangle((x - 1, y - 1, x + tile.shape[1], y + tile.shape[0]), outline=FRAME)


def _has(panel: Panel, kind: str) -> bool:
    return {'image': True, 'labels': panel.labels is not None, 'weight': panel.weights is not None,
            'significance': panel.significance is not None}[kind]


def _tile(panel: Panel, kind: str, index: int, size: tuple[int, int]) -> np.ndarray | None:
    """(height, width, 3) uint8 BGR; None where there is nothing to show."""
    if not _has(panel, kind):
        return None
    if kind == 'labels':
        return cv2.resize(panel.labels[index], size, interpolation=cv2.INTER_NEAREST)
    if kind == 'weight':
        return cv2.resize(_shade(panel.weights[index]), size, interpolation=cv2.INTER_NEAREST)
    picture = _resized(panel.images[index], size)
    if kind == 'significance':
        kept = _region(panel.significance[index], size)
        return np.where(kept[..., None], picture, (0.35 * picture + 0.65 * DROPPED).round()).astype(np.uint8)
    if panel.regions is not None:
        region = _region(panel.regions[index], size).astype(np.uint8)
        around = cv2.dilate(region, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
        picture[around > region] = PAPER
    return picture


def _shade(weight: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] -> BGR: nearly white at 0, dark blue at 1."""
    colours = matplotlib.colormaps['Blues'](0.04 + 0.9 * weight)[..., 2::-1]
    return np.ascontiguousarray((255 * colours).round().astype(np.uint8))


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _region(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _name(pen: ImageDraw.ImageDraw, panel: Panel, y: int) -> None:
    pen.text((MARGIN, y + 2), _words(panel.name), INK, _font(NAME, bold=True))
    for line, note in enumerate(panel.notes):
        pen.text((MARGIN, y + 24 + 16 * line), _words(note), FAINT, _font(SMALL))


def _words(name: str) -> str:
    return name.replace('_', ' ')


def _entries(panels: Sequence[Panel], classes: Sequence[str], right: int) -> list[tuple[int, int, int]]:
    """(class, x, row) of each entry of the legend: the classes that are shown."""
    places, x, row = [], MARGIN, 0
    for index in sorted(set().union(*(panel.classes for panel in panels))):
        wide = 20 + round(_font(SMALL).getlength(classes[index])) + 16
        if x + wide > right and x > MARGIN:
            x, row = MARGIN, row + 1
        places.append((index, x, row))
        x += wide
    return places


def _explain(page: Image.Image, pen: ImageDraw.ImageDraw, y: int, panels: Sequence[Panel]) -> None:
    """The last line: what colours and lines mean."""
    for x, text in _explained(panels):
        pen.text((x, y), text, INK, _font(SMALL))
        if text == SCALE:
            _put(page, pen, _shade(np.linspace(0, 1, 84)[None].repeat(12, 0)), x + 60, y + 2)
            pen.text((x + 152, y), '1', INK, _font(SMALL))


def _explained(panels: Sequence[Panel]) -> list[tuple[int, str]]:
    """(x, text) of the last line's parts."""
    shown = [SCALE] * any(panel.weights is not None for panel in panels)
    shown += ['outline: what was pasted'] * any(panel.regions is not None for panel in panels)
    shown += ['red: not significant'] * any(panel.significance is not None for panel in panels)
    return [(MARGIN + (EXPLAINED + 3 * GAP) * index, text) for index, text in enumerate(shown)]


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name), size)
