"""Per-pixel losses against pseudo-labels, in fp32 or better."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .global_batch import Average, identity

NORMALISERS = ('pixels', 'weight', 'valid')


def upsample(logits: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize (B, C, h, w) logits to (B, C, H, W) of at least fp32, bilinear where the size differs."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode='bilinear', align_corners=align_corners)


def pixel_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255,
                        align_corners: bool = False, normalise: str = 'pixels', divisor: Tensor | None = None,
                        average: Average = identity) -> Tensor:
    """Weighted cross-entropy of every pixel, summed and normalised: a scalar of at least fp32.

    Args:
        logits: (B, C, h, w), upsampled to the label's size.
        label: (B, H, W) long; `ignore_index` (void) adds 0 to the sum.
        normalise: divisor of the sum. 'pixels': B * H * W, void included, as in DACS and its successors. 'weight': the
            sum of the weights, void included; the result is 0 with gradient 0 where that is 0 (CAMix's SRC). 'valid':
            the number of pixels that are not void.
        divisor: (B, H, W) weights whose sum replaces that of `weight`, as in sum(U * q * CE) / sum(U); for 'weight'.
    """
    logits = upsample(logits, label.shape[-2:], align_corners)
    loss = F.cross_entropy(logits, label, ignore_index=ignore_index, reduction='none')
    if weight is not None:
        loss = loss * weight.float()
    if normalise == 'valid':
        return _divide(loss.sum(), average((label != ignore_index).sum()))
    divisor = weight if divisor is None else divisor
    if normalise == 'weight' and divisor is not None:
        return _divide(loss.sum(), average(divisor.float().expand_as(loss).sum()))
    return loss.mean()


def probability_mse(logits: Tensor, target_probs: Tensor, weight: Tensor | None = None,
                    align_corners: bool = False) -> Tensor:
    """Weighted squared difference of class probabilities, averaged over the classes and pixels.

    Args:
        logits: (B, C, h, w), upsampled to the targets' size before the softmax.
        target_probs: (B, C, H, W) probabilities; receive no gradient.
        weight: (B, H, W), or broadcastable to it; default 1.
    """
    probs = upsample(logits, target_probs.shape[-2:], align_corners).softmax(1)
    loss = (probs - target_probs.detach().to(probs)).square().mean(1)
    return (loss if weight is None else loss * weight.float()).mean()


def probability_divergence(logits: Tensor, target_probs: Tensor, weight: Tensor | None = None,
                           align_corners: bool = False) -> Tensor:
    """Weighted KL(target || prediction) of every pixel, averaged over the pixels: a scalar of at least fp32.

    Args:
        logits: (B, C, h, w), upsampled to the targets' size before the softmax.
        target_probs: (B, C, H, W) probabilities; receive no gradient.
        weight: (B, H, W), or broadcastable to it; default 1.
    """
    logs = upsample(logits, target_probs.shape[-2:], align_corners).log_softmax(1)
    loss = F.kl_div(logs, target_probs.detach().to(logs), reduction='none').sum(1)
    return (loss if weight is None else loss * weight.float()).mean()


def _divide(total: Tensor, divisor: Tensor) -> Tensor:
    """total / divisor, and 0 where the divisor is 0: `total` is 0 there, so that any other divisor gives 0."""
    return total / torch.where(divisor == 0, torch.ones_like(divisor), divisor)
