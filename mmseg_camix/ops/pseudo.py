"""Pseudo-labels: the teacher's prediction, its confidence, and the pixels where it is ignored."""
from collections.abc import Sequence

import torch
from torch import Tensor

from .global_batch import Average, identity
from .losses import upsample

SHARES = ('batch', 'image')


def confidence_and_label(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> tuple[Tensor, Tensor]:
    """The largest probability and its class, both (B, H, W), of logits (B, C, h, w) after upsampling."""
    logits = upsample(logits, size, align_corners)
    best, label = logits.max(1)
    # The softmax of the maximum only; the other C - 1 probabilities are not needed.
    return (best - logits.logsumexp(1)).exp(), label


def confident_share(confidence: Tensor, threshold: float, per: str = 'batch', valid: Tensor | None = None,
                    average: Average = identity) -> Tensor:
    """DACS's adaptive weight: the share of pixels with a confidence of at least `threshold`.

    Deviations: the paper counts in each image, the released code in the whole batch.

    Args:
        confidence: (B, H, W).
        threshold: in [0, 1]; .968 in DACS and its successors.
        per: 'batch' or 'image'.
        valid: pixels that are counted; None counts all.

    Returns:
        (B,) fp32 in [0, 1], all equal if `per` is 'batch'; 0 where no pixel is valid.
    """
    confident = confidence >= threshold
    valid = torch.ones_like(confident) if valid is None else valid.expand_as(confident)
    count = (confident & valid).sum((1, 2), dtype=torch.float32)
    total = valid.sum((1, 2), dtype=torch.float32)
    if per == 'batch':
        count, total = average(torch.stack([count.sum(), total.sum()]))[:, None].expand(-1, len(confident))
    return count / torch.where(total > 0, total, 1)


def confidence_histogram(confidence: Tensor, label: Tensor, num_classes: int, bins: int) -> Tensor:
    """Pixels of each class by their confidence, (C, bins) fp32, in equal bins of [0, 1].

    Args:
        confidence: (B, H, W) in [0, 1].
        label: (B, H, W) long; values outside of [0, C) are not counted.
    """
    cell = label * bins + (confidence * bins).long().clamp(0, bins - 1)
    cell = torch.where((label >= 0) & (label < num_classes), cell, num_classes * bins).flatten()
    counts = torch.zeros(num_classes * bins + 1, device=label.device)
    return counts.scatter_add_(0, cell, torch.ones_like(cell, dtype=counts.dtype))[:-1].view(num_classes, bins)


def class_thresholds(histogram: Tensor, share: float) -> Tensor:
    """The confidence (C,) that `share` of each class's pixels reach: the lower edge of a bin; 0 without pixels.

    Args:
        histogram: (C, bins), as of :func:`confidence_histogram`.
        share: in (0, 1].
    """
    bins = histogram.shape[1]
    above = histogram.flip(1).cumsum(1).flip(1)  # pixels from the lower edge of each bin on
    enough = (above >= share * above[:, :1]) & (above > 0)
    return (enough.sum(1) - 1).clamp_min(0) / bins


def row_weight(height: int, top: int = 0, bottom: int = 0, device: torch.device | str | None = None) -> Tensor:
    """(H, 1) fp32: 0 on the first `top` and the last `bottom` rows, 1 between.

    Cameras of cars record sky or lens border at the top and the bonnet at the bottom, where predictions mean little.
    """
    if min(top, bottom) < 0 or top + bottom >= height:
        raise ValueError(f'row_weight: ignoring {top} rows at the top and {bottom} at the bottom leaves nothing of '
                         f'{height} rows; both must be >= 0 and leave some')
    row = torch.arange(height, device=device)
    return ((row >= top) & (row < height - bottom)).float().unsqueeze(1)


def margin_weight(boxes: Tensor, flips: Tensor, size: tuple[int, int], top: float = 0., bottom: float = 0.,
                  left: float = 0., right: float = 0.) -> Tensor:
    """(B, H, W) fp32: 0 where a crop shows the margins of its image, 1 elsewhere.

    Args:
        boxes: (B, 4) float x1, y1, x2, y2 of the crop, from edge to edge and before the flip, as shares of the image.
        flips: (B,) bool, True where the crop was flipped horizontally.
        size: (H, W) of the crops.
        top: width of the margin as a share of the image's height; `bottom` likewise.
        left: width of the margin as a share of the image's width; `right` likewise.
    """
    x1, y1, x2, y2 = boxes.unsqueeze(2).unbind(1)
    x1, x2 = torch.where(flips[:, None], x2, x1), torch.where(flips[:, None], x1, x2)
    rows, columns = ((torch.arange(side, device=boxes.device) + .5) / side for side in size)
    y, x = y1 + (y2 - y1) * rows, x1 + (x2 - x1) * columns
    inside_y, inside_x = (y > top) & (y < 1 - bottom), (x > left) & (x < 1 - right)
    return (inside_y[:, :, None] & inside_x[:, None]).float()


def valid_mask(shapes: Sequence[tuple[int, int]], size: tuple[int, int],
               device: torch.device | str | None = None) -> Tensor:
    """(B, H, W) bool: the upper left (height, width) of each image; the rest of `size` is padding."""
    edges = torch.tensor(shapes)
    if torch.device(device or 'cpu').type == 'cuda':  # a copy from pinned memory does not wait
        edges = edges.pin_memory()
    bottom, right = edges.to(device, non_blocking=True).view(-1, 2, 1, 1).unbind(1)
    rows, columns = torch.arange(size[0], device=device), torch.arange(size[1], device=device)
    return (rows[:, None] < bottom) & (columns < right)


def valid_mean(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of (B, H, W) over the pixels in `valid`, likewise bool; None takes all, and the mean of none is 0."""
    return values.mean() if valid is None else (values * valid).sum() / valid.sum().clamp_min(1)


def align_distribution(probs: Tensor, prior: Tensor, running: Tensor) -> Tensor:
    """Distribution alignment: q * p / p~, normalised again at every pixel where it is not all 0 (DACS, Table 3).

    Args:
        probs: (B, C, H, W), the predictions q.
        prior: (C,), the class distribution p that predictions should have on average.
        running: (C,), the running average p~ of the predictions; see `update_running_`.
    """
    # A class that was never predicted must not divide by 0.
    factor = prior.float() / running.float().clamp_min(1e-6)
    aligned = probs.float() * factor.view(-1, 1, 1)
    return aligned / aligned.sum(1, keepdim=True).clamp_min(1e-12)


@torch.no_grad()
def update_running_(running: Tensor, probs: Tensor, momentum: float = .999, average: Average = identity,
                    valid: Tensor | None = None) -> Tensor:
    """Move the (C,) running average towards the mean of the (B, C, H, W) predictions, in place.

    Initialise it with the uniform distribution, or with the prior, which initially changes nothing. `average` is taken
    over the processes that share a batch. Of `valid` pixels, (B, H, W) bool, there must be at least one; None counts
    all.
    """
    probs = probs.float()
    valid = torch.ones_like(probs[:, 0], dtype=torch.bool) if valid is None else valid
    total = average(torch.cat([(probs * valid[:, None]).sum((0, 2, 3)), valid.sum()[None].float()]))
    return running.lerp_((total[:-1] / total[-1]).to(running.dtype), 1 - momentum)
