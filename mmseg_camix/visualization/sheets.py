"""Contact sheets: pictures, text and legends on a white page. All pictures are (H, W, 3) uint8 RGB."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmseg_camix.files import atomic_write

Colour = tuple[int, int, int]
INK, FAINT, PAPER, FRAME = (40, 40, 40), (130, 130, 130), (255, 255, 255), (208, 208, 208)
RED = np.array((230, 60, 60))
TITLE, NAME, SMALL = 19, 15, 12  # font sizes in pixels
GAP, MARGIN, LINE = 6, 12, 22  # pixels between tiles, around the page, and from one line of text to the next


class Sheet:
    """A white page that grows with what is placed on it; positions are pixels from the upper left corner."""

    def __init__(self) -> None:
        self._texts: list[tuple[tuple[int, int], str, Colour, ImageFont.FreeTypeFont]] = []
        self._pictures: list[tuple[int, int, np.ndarray]] = []
        self.right = self.bottom = 0

    def text(self, x: int, y: int, text: str, size: int = SMALL, bold: bool = False, colour: Colour = INK) -> int:
        """Place a line of text and return the x position of its end."""
        end = x + text_width(text, size, bold)
        self._texts.append(((x, y), text, colour, font(size, bold)))
        self._grow(end, y + size + 4)
        return end

    def picture(self, x: int, y: int, pixels: np.ndarray) -> None:
        """Place a picture, with a thin grey line around it."""
        self._pictures.append((x - 1, y - 1, cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=FRAME)))
        self._grow(x + pixels.shape[1] + 1, y + pixels.shape[0] + 1)

    def legend(self, x: int, y: int, entries: Iterable[tuple[str, Colour]], right: int) -> None:
        """Place colours with their names, in as many lines as fit between x and `right`."""
        left = x
        for name, colour in entries:
            if x > left and x + 20 + text_width(name) > right:
                x, y = left, y + LINE
            self.picture(x, y, np.full((15, 15, 3), colour, np.uint8))
            x = self.text(x + 20, y, name) + 16

    def _grow(self, right: int, bottom: int) -> None:
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)

    def render(self, margin: int = MARGIN) -> np.ndarray:
        """The page, with a margin at its right and at its bottom."""
        page = Image.new('RGB', (self.right + margin, self.bottom + margin), PAPER)
        for x, y, pixels in self._pictures:
            page.paste(Image.fromarray(pixels), (x, y))
        pen = ImageDraw.Draw(page)
        for place, text, colour, face in self._texts:
            pen.text(place, text, colour, face)
        return np.asarray(page)


def comparison(images: Sequence[np.ndarray], labels: Mapping[str, Sequence[np.ndarray]],
               palette: Sequence[Sequence[int]], width: int) -> dict[str, list[np.ndarray]]:
    """Columns of a :func:`grid`: the images, and for each title the label maps (H, W) of all images in colours."""
    maps = {title: [resize(colourise(label, palette), width, smooth=False) for label in column]
            for title, column in labels.items()}
    return {'target image': [resize(image, width) for image in images], **maps}


def grid(columns: Mapping[str, Sequence[np.ndarray | None]], legend: Iterable[tuple[str, Colour]] = ()) -> np.ndarray:
    """A sheet of columns of tiles of one width, each below its title.

    Args:
        columns: title, of one or several lines -> tiles; None leaves a place empty. Tiles of a row have one height.
        legend: names and colours below the tiles.
    """
    sheet = Sheet()
    width = next(tile.shape[1] for tiles in columns.values() for tile in tiles if tile is not None)
    lefts = [MARGIN + index * (width + GAP) for index in range(len(columns))]
    for x, title in zip(lefts, columns):
        for index, line in enumerate(title.split('\n')):
            sheet.text(x, MARGIN - 4 + LINE * index, line, SMALL if index else NAME)
    for row in zip(*columns.values()):
        top = sheet.bottom + GAP
        for x, tile in zip(lefts, row):
            if tile is not None:
                sheet.picture(x, top, tile)
    sheet.legend(MARGIN, sheet.bottom + 2 * GAP, legend, sheet.right)
    return sheet.render()


def denormalise(image: Tensor, preprocessor: object) -> np.ndarray:
    """The RGB picture of a normalised network input (3, H, W)."""
    scale, shift = (torch.tensor(value).view(3, 1, 1) for value in (preprocessor.std, preprocessor.mean))
    pixels = (image.cpu().float() * scale + shift).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels if preprocessor.channel_order == 'rgb' else pixels[..., ::-1])


def resize(picture: np.ndarray, width: int, smooth: bool = True) -> np.ndarray:
    """Scale a picture or a map (H, W) to a width; labels and masks need `smooth=False`."""
    smoothing = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, round(width * picture.shape[0] / picture.shape[1])),
                      interpolation=smoothing if smooth else cv2.INTER_NEAREST)


def outline(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Scale a region (h, w) bool to a picture and draw a white line around it."""
    inside = resize(region.astype(np.uint8), picture.shape[1], smooth=False)
    around = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > inside
    return np.where(around[..., None], np.uint8(255), picture)


def tint(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Scale a mask (h, w) bool to a picture and tint red what it does not keep."""
    kept = resize(kept.astype(np.uint8), picture.shape[1], smooth=False)[..., None] > 0
    return np.where(kept, picture, (0.35 * picture + 0.65 * RED).round()).astype(np.uint8)


def colourise(label: np.ndarray, palette: Sequence) -> np.ndarray:
    """Train ids (H, W) in the palette's colours; ignored pixels are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:len(palette)] = palette
    return colours[label.astype(np.uint8)]


def write_png(path: Path, picture: np.ndarray, clean: bool = True) -> None:
    """Write a picture to a file at once, so that it is never half-written; makes missing folders."""
    atomic_write(path, cv2.imencode('.png', picture[..., ::-1])[1].tobytes(), clean)


def text_width(text: str, size: int = SMALL, bold: bool = False) -> int:
    """Width of a line of text in pixels."""
    return math.ceil(font(size, bold).getlength(text))


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name), size)
