"""Contrast between the regions of two feature maps (RCCR, Eqs 4 to 8), in memory that grows linearly.

A region is a cell of a feature map. An anchor is a cell of the student's map of a mixed image; its positive is the same
cell of the teacher's map of the target image; its negatives are other cells of both maps, and cells of earlier batches.
"""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .global_batch import Average, identity, rand

NORMALISERS = ('positives', 'overlap')
EMPTY = -1
"""Label of an empty place in a memory bank."""
ELSEWHERE = -1
"""Cell of a negative of another image."""


class Negatives(NamedTuple):
    """Embeddings that the anchors of each image are pushed away from."""

    embedding: Tensor
    """(B, M, K) of length 1."""
    label: Tensor
    """(B, M) long; void (255) counts as a class; `EMPTY` is left out."""
    cell: Tensor
    """(B, M) long, the cell in the anchor's own maps, or `ELSEWHERE`."""


def unit_embeddings(embedding: Tensor) -> Tensor:
    """Convert (B, K, h, w) of any float to (B, h*w, K) fp32 of length 1."""
    return F.normalize(embedding.float().flatten(2).transpose(1, 2), dim=2)


def sample_cells(values: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The pixel of (B, H, W) in the middle of each cell of a feature map of size (h, w): (B, h * w).

    Networks that pad by half their kernels may give one cell more than the image holds (65 for 512 pixels at stride 8);
    their cells lie on the corners of the grid.
    """
    for dim, cells in ((1, size[0]), (2, size[1])):
        pixels = values.shape[dim]
        middle = stride // 2 if (cells - 1) * stride < pixels else 0
        index = torch.arange(cells, device=values.device) * stride + middle
        values = values.index_select(dim, index.clamp_max(pixels - 1))
    return values.flatten(1)


def draw_negatives(cut: Tensor, target: Tensor, cut_label: Tensor, target_label: Tensor, ratio: float = .5,
                   generator: torch.Generator | None = None) -> Negatives:
    """Draw a random share of the cells of both maps for each image.

    All anchors of an image share one draw, so that similarities are computed only to the cells drawn.

    Args:
        cut: (B, N, K), the student's embeddings of the mixed image.
        target: (B, N, K), the teacher's of the target image.
        cut_label, target_label: (B, N) long.
        ratio: share of the 2 N cells, in [0, 1]; 1 takes all of them without drawing.
    """
    batch, cells, _ = cut.shape
    embedding = torch.cat([cut, target], 1)
    label = torch.cat([cut_label, target_label], 1)
    cell = torch.arange(cells, device=cut.device).repeat(2).expand(batch, -1)
    if ratio == 1:
        return Negatives(embedding, label, cell)
    score = rand((batch, 2 * cells), generator, cut.device)
    drawn = score.topk(round(2 * cells * ratio), 1, sorted=False).indices
    return Negatives(embedding.take_along_dim(drawn[..., None], 1), label.gather(1, drawn), cell.gather(1, drawn))


def pool_negatives(own: Negatives, gather: Callable[[Tensor], Tensor] = identity, rank: int = 0) -> Negatives:
    """Give each image the negatives of all images of the batch, (B, B * M).

    Args:
        own: of the images of this process.
        gather: (B, ...) to (W * B, ...), the rows of all W processes that share the batch; image b of this process is
            row rank + W * b.
        rank: of this process.
    """
    embedding, label = gather(own.embedding), gather(own.label)
    batch, total = len(own.label), len(label)
    place = torch.arange(total, device=label.device)
    mine = place == place[rank::total // batch, None]
    cell = own.cell[:, None].expand(-1, total, -1).masked_fill(~mine[..., None], ELSEWHERE)
    return Negatives(embedding.flatten(0, 1).expand(batch, -1, -1), label.flatten().expand(batch, -1), cell.flatten(1))


def add_bank(own: Negatives, embedding: Tensor, label: Tensor) -> Negatives:
    """Add negatives of earlier batches, embedding (M', K) and label (M',) long, for every image."""
    batch = len(own.label)
    label = label.expand(batch, -1)
    return Negatives(torch.cat([own.embedding, embedding.expand(batch, -1, -1)], 1), torch.cat([own.label, label], 1),
                     torch.cat([own.cell, torch.full_like(label, ELSEWHERE)], 1))


def anchor_weights(overlap: Tensor, chosen: Tensor | None = None, normalise: str = 'positives',
                   average: Average = identity) -> Tensor:
    """The weight of each cell as an anchor; the sum is at most 1.

    Args:
        overlap: (B, N) bool, cells with the same content in both maps (Eq. 7).
        chosen: (B, N) bool, cells whose positive is trusted; None trusts all.
        normalise: 'positives' is the mean over the anchors of the batch. 'overlap' divides by the cells that overlap,
            trusted or not (the 1 / s^2 of Eq. 4), and averages over images.

    Returns:
        (B, N) fp32; all 0 where the divisor is 0.
    """
    anchors = overlap if chosen is None else overlap & chosen
    if normalise == 'positives':
        count = average(anchors.sum().float())
    else:
        count = overlap.sum(1, keepdim=True) * len(overlap)
    return anchors.float() / torch.where(count > 0, count, 1)


def region_contrast(anchor: Tensor, positive: Tensor, label: Tensor, negatives: Negatives, weight: Tensor,
                    temperature: float = .1, filter_class: bool = True, at_once: int = 2**24) -> Tensor:
    """InfoNCE of every cell against its positive and the negatives, as a weighted sum.

    -log(exp(p) / (exp(p) + D)) = softplus(log D - p), with p the similarity to the positive over the temperature and D
    the sum of exp over the negatives (Eqs 5, 6).

    Args:
        anchor: (B, N, K) of length 1; cell n of each image.
        positive: (B, N, K) of length 1; receives no gradient.
        label: (B, N) long, classes of the anchors.
        negatives: of each image; the anchor's own cell is left out (Eq. 8).
        weight: (B, N), 0 where a cell is no anchor.
        temperature: tau, above 0.
        filter_class: leave out negatives of the anchor's class.
        at_once: largest number of similarities in memory at a time. Beyond it, anchors are processed in chunks, which
            the backward pass recomputes.

    Returns:
        Scalar fp32; an anchor without negatives adds 0.
    """
    cells = anchor.shape[1]
    size = max(1, at_once // max(1, negatives.label.numel()))
    total = anchor.new_zeros((), dtype=torch.float32)
    for start in range(0, cells, size):
        part = slice(start, start + size)
        arguments = (anchor[:, part], positive[:, part].detach(), label[:, part], weight[:, part], start, negatives,
                     temperature, filter_class)
        if size >= cells:
            return _chunk_contrast(*arguments)
        # Chunks draw nothing, so that no random state has to be kept.
        total = total + checkpoint(_chunk_contrast, *arguments, use_reentrant=False, preserve_rng_state=False)
    return total


def _chunk_contrast(anchor: Tensor, positive: Tensor, label: Tensor, weight: Tensor, start: int, negatives: Negatives,
                    temperature: float, filter_class: bool) -> Tensor:
    """The sum over cells [start, start + n); arguments as above, (B, n, ...)."""
    with torch.autocast(anchor.device.type, enabled=False):
        anchor = anchor.float() / temperature
        own = (anchor * positive.float()).sum(2)
        others = anchor @ negatives.embedding.float().transpose(1, 2)
        cell = torch.arange(start, start + anchor.shape[1], device=anchor.device)
        left_out = (negatives.cell[:, None] == cell[:, None]) | (negatives.label == EMPTY)[:, None]
        if filter_class:
            left_out = left_out | (negatives.label[:, None] == label[..., None])
        # -inf would make the gradient NaN where no negative is left; the smallest number makes it 0.
        others = others.masked_fill(left_out, torch.finfo(others.dtype).min)
        return (F.softplus(others.logsumexp(2) - own) * weight).sum()
