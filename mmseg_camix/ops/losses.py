"""Per-pixel losses against pseudo-labels, in fp32 where the logits have less."""
import torch
import torch.nn.functional as F
from torch import Tensor

from .global_batch import Average, identity

NORMALISERS = ('pixels', 'weight', 'valid')


def upsample(logits: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """(B, C, h, w) logits as (B, C, H, W) of at least fp32, bilinear where the size differs."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode='bilinear', align_corners=align_corners)


def pixel_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor | None = None,
                        ignore_index: int = 255, align_corners: bool = False,
                        normalise: str = 'pixels', divisor: Tensor | None = None,
                        average: Average = identity) -> Tensor:
    """Cross-entropy of every pixel times its weight, summed and normalised.

    Args:
        logits: (B, C, h, w), upsampled to the label's size.
        label: (B, H, W) long, `ignore_index` = void, which adds nothing to the sum.
        weight: (B, H, W), or broadcastable to it; 1 if not given.
        ignore_index: the label of void pixels.
        align_corners: how to upsample; that of the head which made the logits.
        normalise: what the sum is divided by. 'pixels': B * H * W, void included, as DACS and its
            successors do. 'weight': the sum of the weights, void pixels included, and exactly 0
            with zero gradients where that is 0 (CAMix's SRC). 'valid': the non-void pixels.
        divisor: (B, H, W) weights whose sum divides in place of those of `weight`, for
            sum(U * q * CE) / sum(U); only with 'weight'.
        average: brings what is divided by to its mean over several processes that share a batch.

    Returns:
        Scalar fp32.
    """
    logits = upsample(logits, label.shape[-2:], align_corners)
    loss = F.cross_entropy(logits, label, ignore_index=ignore_index, reduction='none')
    return _reduce(loss, weight, normalise, label != ignore_index, divisor, average)


def probability_mse(logits: Tensor, target_probs: Tensor, weight: Tensor | None = None,
                    align_corners: bool = False, normalise: str = 'pixels',
                    divisor: Tensor | None = None) -> Tensor:
    """Squared difference of class probabilities, averaged over the classes, then as above.

    Args:
        logits: (B, C, h, w), upsampled to the targets' size before the softmax.
        target_probs: (B, C, H, W) probabilities; no gradient flows into them.
        weight: (B, H, W), or broadcastable to it; 1 if not given.
        align_corners: how to upsample.
        normalise: as in `pixel_cross_entropy`; 'valid' equals 'pixels' here.
        divisor: as in `pixel_cross_entropy`.

    Returns:
        Scalar fp32. Without weights it is the mean over pixels and classes.
    """
    probs = upsample(logits, target_probs.shape[-2:], align_corners).softmax(1)
    loss = (probs - target_probs.detach().to(probs)).square().mean(1)
    return _reduce(loss, weight, normalise, None, divisor, identity)


def _reduce(loss: Tensor, weight: Tensor | None, normalise: str, valid: Tensor | None,
            divisor: Tensor | None, average: Average) -> Tensor:
    if normalise not in NORMALISERS:
        raise ValueError(f"normalise '{normalise}' is not known; "
                         f"available: {', '.join(NORMALISERS)}")
    if divisor is not None and normalise != 'weight':
        raise ValueError(f"divisor is for normalise='weight', not for '{normalise}'")
    if weight is not None:
        loss = loss * weight.float()
    if normalise == 'weight':
        divisor = weight if divisor is None else divisor
        if divisor is not None:
            return _divide(loss.sum(), average(divisor.float().expand_as(loss).sum()))
    if normalise == 'valid' and valid is not None:
        return _divide(loss.sum(), average(valid.sum()))
    return loss.mean()


def _divide(total: Tensor, by: Tensor) -> Tensor:
    """total / by, and 0 where `by` is 0: `total` is 0 there, so any other divisor will do."""
    return total / torch.where(by == 0, torch.ones_like(by), by)
