"""Regions of an image that are pasted into another (ClassMix, CutMix, squares, CowMix) or kept (MIC's blocks).

Every function gives one mask per image, (B, 1, H, W) bool, without loops over classes or images, and without waiting
for the device. Shapes (`box_mask`, `square_mask`, `block_mask`, `cow_mask`) take `batch`, `height` and `width` of the
mask, and the `generator` on the `device` where it is made.
"""
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from .global_batch import Average, identity, rand, randn


def _class_index(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(B, H*W) long in [0, num_classes]: void becomes the index after the last class."""
    return label.masked_fill(label == ignore_index, num_classes).flatten(1)


def present_classes(label: Tensor, num_classes: int, ignore_index: int = 255, count_ignore: bool = False) -> Tensor:
    """(B, C) bool: the classes present in each image; (B, C + 1) with `count_ignore`, which makes void class C."""
    present = torch.zeros(len(label), num_classes + 1, dtype=torch.bool, device=label.device)
    present.scatter_(1, _class_index(label, num_classes, ignore_index), True)
    return present if count_ignore else present[:, :num_classes]


def choose_half(present: Tensor, generator: torch.Generator | None = None, ratio: float = .5) -> Tensor:
    """Draw ceil(n * ratio) of the n classes present, (B, C) bool, in each row, all with equal probability."""
    score = rand(present.shape, generator, present.device)
    # Absent classes rank last, as rand is below 1.
    rank = score.masked_fill(~present, 2.).argsort(1).argsort(1)
    # The margin keeps 10 * .3, in floating point a little more than 3, from becoming 4.
    count = (present.sum(1, keepdim=True) * ratio - 1e-4).ceil()
    return (rank < count) & present


def class_region(label: Tensor, chosen: Tensor, ignore_index: int = 255, count_ignore: bool = False) -> Tensor:
    """(B, 1, H, W) bool: the pixels of the chosen classes, by one table look-up per image.

    Args:
        chosen: (B, C) bool; (B, C + 1) with `count_ignore`, whose last column stands for void.
    """
    table = chosen if count_ignore else pad(chosen, (0, 1))
    index = _class_index(label, table.shape[1] - 1, ignore_index)
    return table.gather(1, index).view_as(label).unsqueeze(1)


def class_mask(label: Tensor, num_classes: int, generator: torch.Generator | None = None, ratio: float = .5,
               ignore_index: int = 255, count_ignore: bool = False, pool: str = 'image',
               average: Average = identity) -> Tensor:
    """ClassMix: the pixels of a random half of the classes present.

    Deviations: the released code of DACS counts void as a class (`count_ignore=True`); the paper counts classes
    only. DAFormer's code draws each image's classes from those of the whole batch (`pool='batch'`), so that more or
    less than half of an image's own may be drawn.

    Args:
        ratio: share of the classes that is drawn; the number is rounded up.
        count_ignore: whether void is one more class.
        pool: 'image' draws from the classes of the image, 'batch' from those of the whole batch; each image has its own
            draw in both cases.
    """
    present = present_classes(label, num_classes, ignore_index, count_ignore)
    if pool == 'batch':
        present = (average(present.any(0, keepdim=True).float()) > 0).expand_as(present)
    chosen = choose_half(present, generator, ratio)
    return class_region(label, chosen, ignore_index, count_ignore)


def _draw_start(size: Tensor, room: int, generator: torch.Generator | None) -> Tensor:
    """A uniform start in [0, room - size] for each (B,) size."""
    free = room - size
    share = rand(size.shape, generator, size.device)
    return torch.minimum((share * (free + 1)).floor(), free)


def _fill_boxes(height: int, width: int, stride: int, top: Tensor, left: Tensor, rows: Tensor,
                columns: Tensor) -> Tensor:
    """(B, 1, H, W) bool, True inside each image's box, which is given in cells of `stride`."""
    y = torch.arange(height, device=top.device).div(stride, rounding_mode='floor')
    x = torch.arange(width, device=top.device).div(stride, rounding_mode='floor')
    in_y = (y >= top[:, None]) & (y < (top + rows)[:, None])
    in_x = (x >= left[:, None]) & (x < (left + columns)[:, None])
    return (in_y[:, :, None] & in_x[:, None, :]).unsqueeze(1)


def _count_cells(name: str, height: int, width: int, stride: int) -> tuple[int, int]:
    if stride < 1 or min(height, width) < stride:
        raise ValueError(f'{name}: stride {stride} must be at least 1 and at most the image size, which is '
                         f'{height}x{width}')
    return height // stride, width // stride


def box_mask(batch: int, height: int, width: int, generator: torch.Generator | None = None,
             device: torch.device | str | None = None, area: float = .5, stride: int = 1) -> Tensor:
    """CutMix for segmentation: one box per image of a fixed area, random shape and place.

    The box's height is exp(u * log(area)) of the image's, u ~ U(0, 1), and its width follows from the area, so that the
    logarithm of the aspect ratio is uniform and the box always fits.

    Args:
        area: share of the image that the box covers, in (0, 1].
        stride: the box's corners are multiples of it; an incomplete last cell is never covered.
    """
    if not 0 < area <= 1:
        raise ValueError(f'box_mask: area {area} must be in (0, 1]')
    cells_y, cells_x = _count_cells('box_mask', height, width, stride)
    share = rand((batch,), generator, device).mul(math.log(area)).exp()
    rows = (share * cells_y).round().clamp(1, cells_y)
    columns = (area / share * cells_x).round().clamp(1, cells_x)
    top, left = _draw_start(rows, cells_y, generator), _draw_start(columns, cells_x, generator)
    return _fill_boxes(height, width, stride, top, left, rows, columns)


def square_mask(batch: int, height: int, width: int, generator: torch.Generator | None = None,
                device: torch.device | str | None = None, area: tuple[float, float] = (0., 1.),
                stride: int = 8) -> Tensor:
    """The square of RCCR: side and corner are multiples of the network's stride.

    The paper gives no distribution of the side. As in its released code, it is the square root of a uniform area,
    rounded down to the stride and at least one stride. Deviations: the code draws one square per batch, makes it a
    rectangle in rectangular images, and never lets it touch the bottom or right border; here each image has its own
    square, at any place.

    Args:
        area: range of the square's area as a share of the square on the image's shorter side.
        stride: side and offsets are multiples of it.
    """
    if not 0 <= area[0] <= area[1] <= 1:
        raise ValueError(f'square_mask: area {area} must be an increasing range within [0, 1]')
    cells_y, cells_x = _count_cells('square_mask', height, width, stride)
    share = rand((batch,), generator, device)
    share = area[0] + share * (area[1] - area[0])
    side = (share.sqrt() * min(cells_y, cells_x)).floor().clamp_min(1)
    top, left = _draw_start(side, cells_y, generator), _draw_start(side, cells_x, generator)
    return _fill_boxes(height, width, stride, top, left, side, side)


def block_mask(batch: int, height: int, width: int, generator: torch.Generator | None = None,
               device: torch.device | str | None = None, block: int = 64, ratio: float = .7) -> Tensor:
    """MIC: keep each block of an image with probability 1 - ratio; True where the image is kept.

    The grid has round(height / block) x round(width / block) cells, enlarged to the image by nearest neighbours: where
    a side is no multiple of the block, cells are a little smaller or larger than it.

    Args:
        block: side of a cell in pixels.
        ratio: probability of a cell to be False, in [0, 1).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f'block_mask: ratio {ratio} must be in [0, 1)')
    if not 1 <= block <= min(height, width):
        raise ValueError(f'block_mask: block {block} must be at least 1 and at most the image size, which is '
                         f'{height}x{width}')
    rows, columns = round(height / block), round(width / block)
    keep = rand((batch, 1, rows, columns), generator, device) > ratio
    y = torch.arange(height, device=device) * rows // height
    x = torch.arange(width, device=device) * columns // width
    return keep[:, :, y[:, None], x]


def random_cells(batch: int, cells: int, count: int, generator: torch.Generator | None = None,
                 device: torch.device | str | None = None) -> Tensor:
    """Draw `count` of the numbers 0 to cells - 1 for each image, without repetition: (batch, count) long, ascending."""
    if not 1 <= count <= cells:
        raise ValueError(f'random_cells: count {count} must lie in [1, {cells}]')
    return rand((batch, cells), generator, device).argsort(1)[:, :count].sort(1).values


def cow_mask(batch: int, height: int, width: int, generator: torch.Generator | None = None,
             device: torch.device | str | None = None, sigma: tuple[float, float] = (1 / 64, 1 / 16),
             share: tuple[float, float] = (.5, .5)) -> Tensor:
    """CowMix: smoothed noise, thresholded where a Gaussian of its mean and deviation has the given share.

    Smoothing is a product in the frequency domain, with each image's own sigma and one transform for the batch; it
    wraps around the borders, so that the mask has the same statistics everywhere.

    Args:
        sigma: range of the smoothing's standard deviation as a share of the shorter side, log-uniform per image. The
            default is 8 to 32 pixels at 512x512.
        share: range of the share of pixels that are covered, uniform per image, within (0, 1).
    """
    if not 0 < sigma[0] <= sigma[1]:
        raise ValueError(f'cow_mask: sigma {sigma} must be an increasing range above 0')
    if not 0 < share[0] <= share[1] < 1:
        raise ValueError(f'cow_mask: share {share} must be an increasing range within (0, 1)')
    draw = rand((2, batch, 1, 1, 1), generator, device, dim=1)
    low, high = (math.log(s * min(height, width)) for s in sigma)
    pixels = (low + draw[0] * (high - low)).exp()
    covered = share[0] + draw[1] * (share[1] - share[0])
    noise = randn((batch, 1, height, width), generator, device)
    fy = torch.fft.fftfreq(height, device=device)[:, None]
    fx = torch.fft.rfftfreq(width, device=device)
    transfer = torch.exp(-2 * math.pi**2 * pixels.square() * (fy.square() + fx.square()))
    smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * transfer, s=(height, width))
    std, mean = torch.std_mean(smooth, dim=(2, 3), keepdim=True)
    deviations: Tensor = torch.special.ndtri(covered)
    return smooth < mean + std * deviations
