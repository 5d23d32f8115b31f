"""Pictures of data: samples with their labels, and the share of each class."""

import textwrap
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from mmcv.transforms import Compose

from mmseg_camix.datasets.encodings import IGNORE
from mmseg_camix.datasets.folders import class_colours
from mmseg_camix.datasets.seeding import seeded
from mmseg_camix.type_names import type_name

from .examine import Examination, facts
from .parts import Part

TILE_WIDTH = 3.4  # inches
TILE_PIXELS = 340
TINT = 0.62  # share of the label's colour in a picture


def draw_samples(examination: Examination, path: Path, count: int = 4) -> bool:
    """Write a picture of samples as the network receives them, with labels laid over; False without any.

    Each part has a row of images, and below it a row with their labels, if it has any. The white frame is a crop that
    a training step might take; hatched pixels are ignored. `count` samples of each part are evenly spread.
    """
    parts = [part for part in examination.parts.values() if part.dataset is not None]
    if not parts:
        return False
    rows = {part.name: [_open(part, info) for info in part.infos(count)] for part in parts}
    heights = [(1 + part.labelled) * max(tile.aspect for tile in rows[part.name]) * TILE_WIDTH + 0.8 for part in parts]
    classes = examination.classes
    legend_height = 0.3 * (2 + len(classes) // 4)
    figure = Figure(figsize=(count * TILE_WIDTH, sum(heights) + legend_height), dpi=100, layout='constrained')
    *blocks, legend = figure.subfigures(len(parts) + 1, height_ratios=[*heights, legend_height], squeeze=False).ravel()
    palette = _palette(examination)
    for part, block in zip(parts, blocks):
        fact = facts(part, examination.samples.get(part.name, ()))
        block.suptitle(f'{part.name}: {fact["dataset"]}, {fact["images"]} images, {fact["loaded"]}, resized to '
                       f'{fact["resized"]}, network {fact["network"]}', fontsize=12)
        _draw_part(block, rows[part.name], palette, count, part.labelled)
    shares = examination.shares()
    labels = [' '.join([name, *(f'{share[index]:.2%}' for share in shares.values())])
              for index, name in enumerate(classes)]
    legend.legend(handles=[Patch(color=palette[i] / 255, label=label) for i, label in enumerate(labels)], loc='center',
                  ncols=4, frameon=False, title=f'classes and their shares of the pixels: {", ".join(shares)}')
    _save(figure, path)
    return True


def _draw_part(block: SubFigure, tiles: list['_Tile'], palette: np.ndarray, count: int, labelled: bool) -> None:
    axes = block.subplots(1 + labelled, count, squeeze=False)
    for axis in axes.ravel():
        axis.axis('off')
    for column, tile in enumerate(tiles):
        axes[0, column].set_title(tile.name[-46:], fontsize=8, color='0.4')
        pictures = [] if tile.image is None else [tile.image]
        if labelled and tile.image is not None and tile.label is not None and tile.label.ndim == 2:
            pictures.append(overlay(tile.image, tile.label, palette))
        for axis, picture in zip(axes[:, column], pictures):
            axis.imshow(picture)
            if tile.box is not None:
                x1, y1, x2, y2 = (value * tile.scale for value in tile.box)
                axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor='white'))
        if tile.error:
            axis = axes[-1, column]
            axis.text(0, 0.5, textwrap.fill(tile.error, 44), fontsize=8, transform=axis.transAxes)


@dataclass
class _Tile:
    """A sample before it is cropped and flipped: image (RGB, scaled), label, crop, and the pipeline's error."""

    name: str
    image: np.ndarray | None = None
    label: np.ndarray | None = None
    box: tuple[int, int, int, int] | None = None
    error: str = ''
    scale: float = 1.0

    @property
    def aspect(self) -> float:
        """Height / width."""
        return 9 / 16 if self.image is None else self.image.shape[0] / self.image.shape[1]


def _open(part: Part, info: dict) -> _Tile:
    tile, results = _Tile(Path(info['img_path']).name), dict(info)
    try:
        with seeded(0, 'doctor', zlib.crc32(info['img_path'].encode())):
            for config, transform in zip(part.pipeline, Compose(part.pipeline).transforms):
                results = transform(results)
                tile.box = results.get('crop_box', tile.box)
                if 'inputs' in results:
                    break
                if tile.box is None and not any(word in type_name(config) for word in ('Crop', 'Flip')):
                    tile.image, tile.label = results.get('img', tile.image), results.get('gt_seg_map', tile.label)
    except Exception as error:  # reported in full by the check
        tile.error = str(error).rsplit(f'{tile.name}: ', 1)[-1]
    if tile.image is not None:
        image = np.atleast_3d(tile.image)[..., :3][..., ::-1].clip(0, 255).astype(np.uint8)
        tile.scale = TILE_PIXELS / image.shape[1]
        image = np.ascontiguousarray(image if image.shape[2] == 3 else image.repeat(3, 2))
        tile.image = cv2.resize(image, (TILE_PIXELS, round(image.shape[0] * tile.scale)), interpolation=cv2.INTER_AREA)
    return tile


def overlay(image: np.ndarray, label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """An image with its label laid over: tinted classes, fine white borders, ignored pixels hatched.

    Args:
        image: (H, W, 3) uint8 RGB.
        label: (h, w) train ids; scaled to the image.
        palette: (256, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    ids = cv2.resize(label.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    tinted = TINT * palette[ids] + (1 - TINT) * (0.25 * image + 0.75 * grey)
    y, x = np.mgrid[:height, :width]
    hatch = np.where((x + y) // 5 % 2, 70, 105).astype(np.float32)[..., None]
    tinted = np.where((ids == IGNORE)[..., None], 0.8 * hatch + 0.2 * grey, tinted)
    border = np.zeros((height, width), bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    tinted[border] = 0.35 * tinted[border] + 0.65 * 255
    return tinted.round().clip(0, 255).astype(np.uint8)


def draw_classes(examination: Examination, path: Path) -> bool:
    """Write a chart of the share of each class in source and validation; False without labels."""
    shares = examination.shares()
    if not shares:
        return False
    order = np.argsort(next(iter(shares.values())), kind='stable')
    palette = _palette(examination) / 255
    figure = Figure(figsize=(8, 1.3 + 0.3 * len(order)), layout='constrained')
    axis = figure.subplots()
    for (name, share), marker in zip(shares.items(), 'os^D'):
        colours = palette[order]
        axis.scatter(share[order] * 100, range(len(order)), 60, marker=marker, edgecolor=colours, linewidth=1.8,
                     facecolor=colours if marker == 'o' else 'white')
        axis.scatter([], [], 60, marker=marker, facecolor='0.4' if marker == 'o' else 'white', edgecolor='0.4',
                     label=name)
    axis.set_yticks(range(len(order)), [examination.classes[index] for index in order])
    axis.set(xscale='log', xlabel='share of labelled pixels (%)', ylim=(-0.7, len(order) - 0.3))
    axis.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right', 'left']].set_visible(False)
    figure.legend(loc='outside upper right', ncols=4, frameon=False)
    _save(figure, path)
    return True


def _palette(examination: Examination) -> np.ndarray:
    """(256, 3) uint8 RGB of the classes."""
    palette = next((part.dataset.metainfo.get('palette') for part in examination.parts.values()
                    if part.dataset is not None and part.classes), None)
    colours = np.full((256, 3), 88, np.uint8)
    if examination.classes:
        colours[:len(examination.classes)] = palette or class_colours(examination.classes)
    return colours


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
