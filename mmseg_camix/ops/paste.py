"""Paste a region of one batch over another."""
import torch
from torch import Tensor


def paste(donor: Tensor, over: Tensor, mask: Tensor, opacity: float = 1.) -> Tensor:
    """Return a new tensor with `donor` inside the mask and `over` outside.

    With an opacity beta below 1 the inside is beta * donor + (1 - beta) * over (DSP's soft paste).

    Args:
        donor: (B, C, H, W) or (B, H, W), any dtype: images, labels, weights.
        over: like `donor`.
        mask: (B, 1, H, W) bool.
        opacity: in [0, 1]; below 1 for floating-point tensors only.
    """
    if donor.shape != over.shape or donor.dim() not in (3, 4):
        raise ValueError('paste: donor and over must both be (B, C, H, W) or (B, H, W), but are '
                         f'{tuple(donor.shape)} and {tuple(over.shape)}')
    expected = (len(donor), 1, *donor.shape[-2:])
    if mask.dtype != torch.bool or mask.shape != expected:
        raise ValueError(f'paste: the mask must be bool of shape {expected}, but is {mask.dtype} of shape '
                         f'{tuple(mask.shape)}')
    if opacity != 1 and not over.is_floating_point():
        raise TypeError(f'paste: opacity {opacity} would blend {over.dtype} values; labels have no mean: paste them '
                        'with opacity 1, or use two weighted targets')
    if donor.dim() == 3:
        mask = mask.squeeze(1)
    inside = donor if opacity == 1 else torch.lerp(over, donor, opacity)
    return torch.where(mask, inside, over)
