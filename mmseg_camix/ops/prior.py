"""The spatial prior Q of CAMix: from counts to probabilities, and its crop for a sample."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Positions this close to a cell's centre, in cells, differ from it by rounding errors of the normalised box.
_SNAP = 1e-3


def prior_from_counts(counts: Tensor, sigma: float = 0.0, epsilon: float = 1e-4) -> Tensor:
    """The class distribution at every location, (C, h, w) float32; a cell without any count is uniform.

    Args:
        counts: (C, h, w) pixels of each class in each cell; integer or float.
        sigma: Gaussian blur of the counts, in cells; 0 disables it.
        epsilon: added to each class's probability before the final normalisation. Without it, a class that never occurs
            at a location can never be predicted there.

    Returns:
        (C, h, w) float32, sums to 1 over C. A cell without any count is uniform.
    """
    if sigma < 0 or epsilon < 0:
        raise ValueError(f'sigma and epsilon cannot be negative, got {sigma} and {epsilon}')
    smooth = _blur(counts.double(), sigma) if sigma > 0 else counts.double()
    total = smooth.sum(0, keepdim=True)
    uniform = torch.full_like(smooth, 1 / counts.shape[0])
    share = torch.where(total > 0, smooth / total.clamp_min(torch.finfo(total.dtype).tiny), uniform)
    return ((share + epsilon) / (1 + counts.shape[0] * epsilon)).float()


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, h, w), separable; the border is repeated."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-0.5 * (offsets / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    maps = F.pad(maps[:, None], (radius,) * 4, mode='replicate')
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1))
    return F.conv2d(maps, kernel.view(1, 1, -1, 1))[:, 0]


def crop_prior(prior: Tensor, boxes: Tensor, flips: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop, resize and flip the prior like each sample: (B, C, H, W) float32.

    Bilinear; where the crop's pixels coincide with the prior's cells it equals slicing exactly. The cost grows with
    `size`: as the prior is smooth, it can be sampled and multiplied at the resolution of the logits.

    Args:
        prior: (C, h, w) float.
        boxes: (B, 4) float x1, y1, x2, y2 of the crop, from edge to edge and before the flip, as shares of the resized
            image. Outside of [0, 1] the border is repeated.
        flips: (B,) bool, True where the crop was flipped horizontally.
        size: (H, W) of the result.
    """
    if prior.dim() != 3 or boxes.shape[1:] != (4,) or flips.shape != boxes.shape[:1]:
        raise ValueError('crop_prior takes prior (C, h, w), boxes (B, 4) and flips (B,), got '
                         f'{tuple(prior.shape)}, {tuple(boxes.shape)} and {tuple(flips.shape)}')
    height, width = prior.shape[1:]
    padded = F.pad(prior.float(), (0, _power_of_two(width) - width, 0, _power_of_two(height) - height))
    left, top, right, bottom = boxes.double().unbind(1)
    left, right = torch.where(flips, right, left), torch.where(flips, left, right)
    x = _grid_coordinates(left, right, size[1], width)
    y = _grid_coordinates(top, bottom, size[0], height)
    shape = (len(boxes), *size)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    return F.grid_sample(padded.expand(len(boxes), -1, -1, -1), grid, mode='bilinear', padding_mode='border',
                         align_corners=False)


def _power_of_two(length: int) -> int:
    """The next power of two: grid_sample's coordinates of such a length are exact in float32."""
    return 1 << (length - 1).bit_length()


def _grid_coordinates(start: Tensor, stop: Tensor, length: int, cells: int) -> Tensor:
    """(B, length): the centres of `length` pixels from start to stop, as grid_sample's coordinates of the padded axis.

    Start and stop, (B,) float64, are shares of an axis of `cells` cells; start > stop reads it backwards.
    """
    centres = (torch.arange(length, device=start.device, dtype=start.dtype) + 0.5) / length
    position = (start[:, None] + (stop - start)[:, None] * centres) * cells - 0.5
    nearest = position.round()
    position = torch.where((position - nearest).abs() < _SNAP, nearest, position).clamp(0, cells - 1)
    return ((2 * position + 1) / _power_of_two(cells) - 1).float()
