"""Distance of two sets of features: maximum mean discrepancy (DSP, Eqs 8 and 9)."""
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .global_batch import rand


def mmd(x: Tensor, y: Tensor, weight_x: Tensor | None = None, weight_y: Tensor | None = None, kernels: int = 5,
        ratio: float = 2.) -> Tensor:
    """Squared distance of the kernel mean embeddings, || mu(x) - mu(y) ||^2, image by image.

    The kernel is a sum of Gaussians exp(-d / b_i), with d the squared distance of two features, and b_i = b * ratio^(i
    - kernels // 2), where b is the mean of d over all pairs of different features of both sets. b receives no gradient.
    The estimate is the biased one (features are also compared with themselves), so that it is never negative, and 0 for
    equal sets.

    Args:
        x, y: (B, N, C) and (B, M, C), any float type; distances are computed in fp32, under autocast too.
        weight_x, weight_y: (B, N) and (B, M), not negative: weight of each feature; default 1.
        kernels: number of Gaussians.
        ratio: of consecutive bandwidths.

    Returns:
        (B,) fp32. Exactly 0, with gradient 0, where the weights of a set are all 0.
    """
    if x.dim() != 3 or y.dim() != 3 or x.shape[::2] != y.shape[::2]:
        raise ValueError(f'mmd: features must be (B, N, C) and (B, M, C), but are {tuple(x.shape)} and '
                         f'{tuple(y.shape)}')
    with torch.autocast(x.device.type, enabled=False):
        share_x, any_x = _shares(x, weight_x)
        share_y, any_y = _shares(y, weight_y)
        share = torch.cat([share_x, share_y], 1) * (any_x & any_y)
        # sum a_i a_j k_ij is one product, with a the shares of x and minus those of y.
        signed = torch.cat([share[:, :x.shape[1]], -share[:, x.shape[1]:]], 1)
        return _Discrepancy.apply(torch.cat([x.float(), y.float()], 1), share, signed, kernels, ratio)


class _Discrepancy(torch.autograd.Function):
    """sum a_i a_j k_ij of all features; its gradient keeps one matrix of pairs instead of twenty."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, share: Tensor, signed: Tensor, kernels: int, ratio: float) -> Tensor:
        """(B, N, C) features, (B, N) shares and a -> (B,)."""
        features = features - torch.einsum('bn,bnc->bc', share, features)[:, None] / 2
        distance = _squared_distances(features)
        bandwidth = _mean_distance(distance, share) * ratio**(kernels - 1 - kernels // 2)
        gaussian = distance.mul_(-1 / bandwidth).exp_()  # the widest; the next is its power
        kernel, slope = gaussian.clone(), gaussian / bandwidth
        for _ in range(kernels - 1):
            bandwidth = bandwidth / ratio
            gaussian.pow_(ratio)
            kernel += gaussian
            slope.addcdiv_(gaussian, bandwidth)
        ctx.save_for_backward(features, signed, slope)
        # Rounding can give slightly negative values.
        return torch.einsum('bi,bij,bj->b', signed, kernel, signed).clamp_min(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """d value / d f_i = -4 a_i sum_j a_j s_ij (f_i - f_j), with s = -dk / dd and d_ij = |f_i - f_j|^2."""
        features, signed, slope = ctx.saved_tensors
        with torch.autocast(features.device.type, enabled=False):
            pulled = slope @ (signed[..., None] * features)
            total = slope @ signed[..., None]
        return -4 * (gradient[:, None] * signed)[..., None] * (total * features - pulled), None, None, None, None


def _shares(features: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights that sum to 1, (B, N) fp32, and whether any is above 0, (B, 1) bool."""
    if weight is None:
        weight = features.new_ones(features.shape[:2], dtype=torch.float32)
    if weight.shape != features.shape[:2]:
        raise ValueError(f'mmd: weights must be {tuple(features.shape[:2])}, but are {tuple(weight.shape)}')
    weight = weight.detach().float()
    total = weight.sum(1, keepdim=True)
    return weight / torch.where(total > 0, total, 1.), total > 0


def _squared_distances(features: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, N); of centred features, as squares would cancel far from the origin."""
    square = features.square().sum(2)
    products = torch.baddbmm(square[:, :, None] + square[:, None], features, features.transpose(1, 2), alpha=-2)
    return products.clamp_min_(0)


def _mean_distance(distance: Tensor, share: Tensor) -> Tensor:
    """Weighted mean over pairs of different features, (B, 1, 1); 1 where all features are equal."""
    total = torch.einsum('bi,bij,bj->b', share, distance, share)
    pairs = share.sum(1).square() - share.square().sum(1)
    mean = total / torch.where(pairs > 0, pairs, 1.)
    return torch.where(mean > 0, mean, 1.)[:, None, None]


def masked_mean(features: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over places: (B, C, H, W), (B, H, W) -> (B, C) fp32; 0 where all weights are 0."""
    weight = weight.float()
    total = weight.sum((1, 2))
    with torch.autocast(features.device.type, enabled=False):
        summed = torch.einsum('bchw,bhw->bc', features.float(), weight)
    return summed / torch.where(total > 0, total, 1.)[:, None]


def choose_cells(weight: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw `count` <= N different places of each image, (B, count); those with a weight (B, N) above 0 come first."""
    score = rand(weight.shape, generator, weight.device)
    return (score + (weight > 0)).topk(count, dim=1).indices
