"""Pictures of data: samples with their labels, and how often each class occurs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import Compose
from PIL import Image, ImageDraw, ImageFont

from mmseg_camix.datasets.folders import class_colours
from mmseg_camix.datasets.seeding import seeded
from mmseg_camix.files import atomic_write
from mmseg_camix.type_names import type_name

from .examine import Examination, facts
from .parts import Part

TILE, GAP, MARGIN, HEADER, CAPTION = 340, 10, 28, 46, 20
PAPER, INK, FAINT, EMPTY = (252, 252, 250), (34, 34, 38), (130, 130, 136), (240, 236, 232)
IGNORE = 255


def draw_samples(examination: Examination, path: Path, count: int = 4) -> bool:
    """Write a picture of samples as the network is shown them, with labels laid over; False without any.

    One block for each part: images above, below them the same with their labels where it has any. The white
    frame is the crop that a training step might take; hatched pixels are ignored.

    Args:
        examination: of the data.
        path: file to write.
        count: samples of each part, evenly spread.
    """
    palette = _palette(examination)
    blocks = [_block(part, examination, palette, count) for part in examination.parts.values()
              if part.dataset is not None]
    if not blocks:
        return False
    width = 2 * MARGIN + count * TILE + (count - 1) * GAP
    blocks.append(_legend(examination, palette, width))
    sheet = Image.new('RGB', (width, sum(block.height for block in blocks) + MARGIN), PAPER)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    atomic_write(path, cv2.imencode('.png', np.array(sheet)[..., ::-1])[1].tobytes())
    return True


def _block(part: Part, examination: Examination, palette: np.ndarray, count: int) -> Image.Image:
    fact = facts(part, examination.seen.get(part.name, ()))
    columns = [_column(_opened(part, info), palette, part.labelled) for info in part.infos(count)]
    height = max(column.height for column in columns)
    block = Image.new('RGB', (2 * MARGIN + count * TILE + (count - 1) * GAP, MARGIN + HEADER + height), PAPER)
    pen = ImageDraw.Draw(block)
    pen.text((MARGIN, MARGIN), part.name, INK, _font(22))
    details = [fact['dataset'], f'{fact["images"]} images', fact['loaded']]
    details += [f'resized to {fact["resized"]}'] if fact['resized'] not in ('-', fact['loaded']) else []
    details += [f'network sees {fact["network"]}'] if fact['network'] != '-' else []
    left = MARGIN + pen.textlength(part.name, _font(22)) + 16
    pen.text((left, MARGIN + 7), '   '.join(details), FAINT, _font(14))
    for index, column in enumerate(columns):
        block.paste(column, (MARGIN + index * (TILE + GAP), MARGIN + HEADER))
    return block


@dataclass
class _Tile:
    """A sample just before it is cropped and flipped: image (BGR), label, crop, and what went wrong."""

    name: str
    image: np.ndarray | None = None
    label: np.ndarray | None = None
    box: tuple[int, int, int, int] | None = None
    error: str = ''


def _opened(part: Part, info: dict) -> _Tile:
    tile = _Tile(Path(info['img_path']).name)
    results = dict(info)
    try:
        with seeded(0, 'doctor', zlib.crc32(info['img_path'].encode())):
            for given, transform in zip(part.pipeline, Compose(part.pipeline).transforms):
                results = transform(results)
                tile.box = results.get('crop_box', tile.box)
                if 'inputs' in results:
                    break
                if tile.box is None and not any(word in type_name(given) for word in ('Crop', 'Flip')):
                    tile.image, tile.label = results.get('img', tile.image), results.get('gt_seg_map', tile.label)
    except Exception as error:  # the examination tells it in full
        tile.error = str(error).rsplit(f'{tile.name}: ', 1)[-1]
    return tile


def _column(tile: _Tile, palette: np.ndarray, labelled: bool) -> Image.Image:
    """One sample: its image, its label below, its name."""
    shape = (9, 16) if tile.image is None else tile.image.shape
    height = round(TILE * shape[0] / shape[1])
    empty = np.full((height, TILE, 3), EMPTY, np.uint8)
    rows = [empty]
    if tile.image is not None:
        image = np.atleast_3d(tile.image)[..., :3]
        shown = cv2.resize(image if image.shape[2] == 3 else image.repeat(3, 2), (TILE, height),
                           interpolation=cv2.INTER_AREA)
        rows = [np.ascontiguousarray(shown[..., ::-1]).astype(np.uint8)]
    if tile.label is not None and tile.label.ndim == 2:
        rows.append(overlaid(rows[0], tile.label, palette))
    elif labelled and tile.image is not None:
        rows.append(empty)
    for row in rows if tile.box is not None and tile.image is not None else ():
        _framed(row, tile.box, shape)
    full = len(rows) * height + (len(rows) - 1) * 4
    column = Image.new('RGB', (TILE, full + CAPTION), PAPER)
    for index, row in enumerate(rows):
        column.paste(Image.fromarray(row), (0, index * (height + 4)))
    pen = ImageDraw.Draw(column)
    if tile.error:
        _wrapped(pen, tile.error, (12, (len(rows) - 1) * (height + 4) + 12), TILE - 24)
    pen.text((0, full + 3), _shortened(tile.name, 46), FAINT, _font(12))
    return column


def overlaid(image: np.ndarray, label: np.ndarray, palette: np.ndarray, strength: float = 0.62) -> np.ndarray:
    """An image with its label laid over: tints of the classes, fine white borders, ignored pixels hatched.

    Args:
        image: (H, W, 3) uint8 RGB.
        label: (h, w) train ids; scaled to the image.
        palette: (256, 3) uint8 RGB.
        strength: of the tint.
    """
    height, width = image.shape[:2]
    ids = cv2.resize(label.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    tinted = strength * palette[ids] + (1 - strength) * (0.25 * image + 0.75 * grey)
    y, x = np.mgrid[:height, :width]
    hatch = np.where((x + y) // 5 % 2, 70, 105).astype(np.float32)[..., None]
    tinted = np.where((ids == IGNORE)[..., None], 0.8 * hatch + 0.2 * grey, tinted)
    border = np.zeros((height, width), bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    tinted[border] = 0.35 * tinted[border] + 0.65 * 255
    return tinted.round().clip(0, 255).astype(np.uint8)


def _framed(row: np.ndarray, box: Sequence[int], shape: tuple[int, ...]) -> None:
    """Draw the crop into a tile."""
    x1, y1, x2, y2 = (round(value * TILE / shape[1]) for value in box)
    corners = (x1 + 1, y1 + 1), (min(x2, TILE) - 2, min(y2, row.shape[0]) - 2)
    cv2.rectangle(row, *corners, (60, 60, 60), 2)
    cv2.rectangle(row, *corners, (255, 255, 255), 1)


def _legend(examination: Examination, palette: np.ndarray, width: int) -> Image.Image:
    """Colours and names, with the shares of pixels."""
    shares = examination.shares()
    column, line = 248, 24
    per_row = max(1, (width - 2 * MARGIN) // column)
    rows = -(-(len(examination.classes) + 1) // per_row)
    field = Image.new('RGB', (width, 2 * MARGIN + 12 + rows * line), PAPER)
    pen = ImageDraw.Draw(field)
    if shares:
        pen.text((MARGIN, 14), f'classes, and their shares of the pixels: {", ".join(shares)}', FAINT, _font(14))
    names = [*examination.classes, 'ignored']
    for index, name in enumerate(names):
        x, y = MARGIN + index % per_row * column, MARGIN + 18 + index // per_row * line
        colour = tuple(palette[index].tolist()) if index < len(names) - 1 else (88, 88, 88)
        pen.rounded_rectangle((x, y + 2, x + 16, y + 16), 4, colour)
        pen.text((x + 24, y), name, INK, _font(14))
        if index < len(names) - 1 and shares:
            percent = '   '.join(f'{share[index]:.2%}' for share in shares.values())
            pen.text((x + 32 + pen.textlength(name, _font(14)), y + 1), percent, FAINT, _font(12))
    return field


def draw_classes(examination: Examination, path: Path, count: int = 0) -> bool:
    """Write a chart of the share of each class in source and validation; False without labels.

    Args:
        examination: of the data.
        path: file to write.
        count: without meaning here; for calling as `draw_samples`.
    """
    shares = examination.shares()
    if not shares:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    first, *others = shares.items()
    order = np.argsort(first[1], kind='stable')
    palette = _palette(examination) / 255
    figure = Figure(figsize=(8, 1.3 + 0.3 * len(order)), layout='constrained')
    axis = figure.subplots()
    floor = 10 ** np.floor(np.log10(min(share[share > 0].min() for share in shares.values()) * 100))
    for place, cls in enumerate(order):
        values = [max(share[cls] * 100, floor * 0.6) for share in shares.values()]
        axis.plot([min(values), max(values)], [place, place], color=palette[cls], linewidth=4, alpha=0.35, zorder=1)
        for marker, value, share in zip('os^D', values, shares.values()):
            hollow = marker != 'o' or share[cls] == 0
            axis.scatter(value, place, 60, marker=marker, facecolor='white' if hollow else palette[cls],
                         edgecolor=palette[cls], linewidth=1.8, zorder=2)
    names = [examination.classes[cls] for cls in order]
    axis.set_yticks(range(len(order)), names)
    axis.set(xscale='log', xlabel='share of labelled pixels (%)', ylim=(-0.7, len(order) - 0.3))
    for marker, name in zip('os^D', (first[0], *(name for name, _ in others))):
        axis.scatter([], [], 60, marker=marker, facecolor='0.4' if marker == 'o' else 'white', edgecolor='0.4',
                     label=name)
    axis.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axis.grid(axis='x', alpha=0.3)
    axis.spines[['top', 'right', 'left']].set_visible(False)
    axis.tick_params(left=False)
    figure.legend(loc='outside upper right', ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
    return True


def _palette(examination: Examination) -> np.ndarray:
    """(256, 3) uint8 RGB of the classes."""
    given = next((part.dataset.metainfo.get('palette') for part in examination.parts.values()
                  if part.dataset is not None and part.classes), None)
    colours = np.full((256, 3), 88, np.uint8)
    colours[:len(examination.classes)] = given or class_colours(examination.classes) or colours[:0]
    return colours


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f'{text[:length // 2 - 1]}...{text[2 - length // 2:]}'


def _wrapped(pen: ImageDraw.ImageDraw, text: str, place: tuple[int, int], width: int) -> None:
    line, y = '', place[1]
    for word in text.replace('/', '/ ').split():
        if line and pen.textlength(f'{line} {word}', _font(12)) > width:
            pen.text((place[0], y), line, INK, _font(12))
            line, y = word, y + 16
        else:
            line = f'{line} {word}'.strip()
    pen.text((place[0], y), line, INK, _font(12))
