"""Uncertainty of the teacher: entropy, dynamic threshold and significance mask (CAMix, Eqs 5 to 7)."""
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Bound = TypeVar('Bound', Tensor, float)


def mean_probabilities(passes: Iterable[Tensor]) -> Tensor:
    """The mean class distribution, (B, C, H, W) float32, of the logits of several passes (Eq. 5).

    Of a generator, one pass is in memory at a time.
    """
    total: Tensor | None = None
    count = 0
    for logits in passes:
        probs = logits.softmax(1, dtype=torch.float32)
        total = probs if total is None else total.add_(probs)
        count += 1
    if total is None:
        raise ValueError('mean_probabilities needs at least one pass; the iterable was empty')
    return total.div_(count)


def predictive_entropy(probs: Tensor) -> Tensor:
    """Entropy in nats of every pixel's class distribution, (B, C, H, W) -> (B, H, W) float32 in [0, ln C] (Eq. 6).

    A probability that underflowed to 0 adds 0, the limit. (Plain ``p * log p`` gives NaN, which is below no threshold:
    the most confident pixels would be lost.) Low precision may round p above 1.
    """
    probs = probs.float()
    terms: Tensor = torch.special.xlogy(probs, probs)
    return terms.sum(1).neg().clamp_min(0)


def largest_entropy(entropy: Tensor, valid: Tensor | None = None) -> Tensor:
    """K_sup of Eq. 7: each sample's largest entropy, (B, H, W) -> (B,)."""
    return (entropy if valid is None else entropy.masked_fill(~valid, 0)).amax((1, 2))


def ramp(gamma: float, t: int, t_max: int) -> float:
    """exp(gamma * (1 - t / t_max)^2): from exp(gamma) at the start to 1 from t_max on."""
    if t_max <= 0:
        raise ValueError(f't_max is the number of iterations and must be positive, got {t_max}')
    return math.exp(gamma * (1 - min(max(t / t_max, 0.0), 1.0)) ** 2)


def dynamic_threshold(t: int, t_max: int, k_sup: Bound, beta: float = 0.75, gamma: float = -5.0,
                      form: str = 'paper') -> Bound:
    """The entropy below which a pixel is significant at iteration t of t_max (Eq. 7), of the type of `k_sup`.

    Args:
        k_sup: upper bound of the entropy: :func:`largest_entropy` (paper) or ln C (released code).
        beta: weight of the constant part.
        gamma: speed of the ramp; negative.
        form: 'paper' is ``beta + (1 - beta) * ramp * k_sup`` as printed; 'official' is ``(beta + (1 - beta) * ramp) *
            k_sup`` as released, which accepts almost every pixel.
    """
    rise = (1 - beta) * ramp(gamma, t, t_max)
    if form == 'paper':
        return beta + rise * k_sup
    if form == 'official':
        return (beta + rise) * k_sup
    raise ValueError(f"threshold form '{form}' is unknown; available: paper, official")


def significance_mask(entropy: Tensor, threshold: Tensor | float) -> Tensor:
    """U_T: where the entropy, (B, H, W), is strictly below the threshold, (B,) or one number for all samples."""
    if isinstance(threshold, Tensor) and threshold.dim() > 0:
        if threshold.shape != entropy.shape[:1]:
            raise ValueError(f'{entropy.shape[0]} samples need as many thresholds, got a tensor of shape '
                             f'{tuple(threshold.shape)}')
        threshold = threshold[:, None, None]
    return entropy < threshold


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, h, w) bool to (B, H, W) bool by nearest neighbour."""
    if mask.shape[-2:] == tuple(size):
        return mask
    resized = F.interpolate(mask[:, None].to(torch.uint8), size=size, mode='nearest-exact')
    return resized[:, 0].bool()


def entropy_quantiles(entropy: Tensor, levels: Sequence[float] = (0.1, 0.5, 0.9), max_values: int = 1 << 16) -> Tensor:
    """Quantiles for the log, (len(levels),): the nearest rank among about `max_values` evenly strided pixels.

    No value is read back from the device.
    """
    if not all(0 <= level <= 1 for level in levels):
        raise ValueError(f'quantile levels lie in [0, 1], got {tuple(levels)}')
    values = entropy.detach().float().flatten()
    values = values[::math.ceil(values.numel() / max_values)].sort().values
    return torch.stack([values[round(level * (values.numel() - 1))] for level in levels])
