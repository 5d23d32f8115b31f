"""Distances of two feature maps: on the cells of chosen classes (DAFormer), and everywhere (VFM-UDA++)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .global_batch import Average, identity


def majority_cells(label: Tensor, classes: Tensor, size: tuple[int, int], min_share: float = 0.75) -> Tensor:
    """(B, h, w) bool: cells whose most frequent label is one of `classes` and covers enough of the cell.

    Args:
        label: (B, H, W) long; values outside [0, C) are void.
        classes: (C,) bool, the chosen ones among all classes.
        size: (h, w) of the cells; where they do not divide H and W, cells overlap a little.
        min_share: least share of the cell's pixels, void pixels counted.
    """
    count = len(classes)
    valid = (label >= 0) & (label < count)
    # Void becomes one more class. (F.one_hot would check the values on the host.)
    one_hot = torch.where(valid, label, count)[:, None] == torch.arange(count + 1, device=label.device)[:, None, None]
    share, winner = F.adaptive_avg_pool2d(one_hot.float(), size).max(1)
    chosen = torch.cat([classes, classes.new_zeros(1)])
    return chosen[winner] & (share >= min_share)


def masked_feature_distance(first: Tensor, second: Tensor, mask: Tensor, average: Average = identity) -> Tensor:
    """Euclidean distance over the channels of (B, D, h, w) maps, mean over the cells in `mask`, (B, h, w) bool.

    0 with gradient 0 where the mask is empty.
    """
    distance: Tensor = torch.linalg.vector_norm(first.float() - second.float(), dim=1)
    weight = mask.float()
    count = average(weight.sum())
    return (distance * weight).sum() / torch.where(count > 0, count, 1)


SMOOTH_L1_SHARE = 0.1


def distillation_distance(features: Tensor, reference: Tensor) -> Tensor:
    """(B, h, w) fp32 distance of (B, D, h, w) maps: 0.1 smooth L1, mean over the channels, + 0.9 (1 - cosine)."""
    features, reference = features.float(), reference.float()
    absolute = F.smooth_l1_loss(features, reference, reduction='none').mean(1)
    angular = 1 - F.cosine_similarity(features, reference)
    return SMOOTH_L1_SHARE * absolute + (1 - SMOOTH_L1_SHARE) * angular
