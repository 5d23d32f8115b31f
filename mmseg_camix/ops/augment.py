"""Strong augmentation of a normalised batch: colour jitter, then Gaussian blur.

Parameters are drawn once (`StrongAugment.draw`) and applied as often as one likes
(`apply_params`; `apply` is taken by nn.Module). They are plain numbers from a CPU generator, so
that no step waits for the device to learn them.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

from .global_batch import process_of

JITTERS = ('brightness', 'contrast', 'saturation', 'hue')


@dataclass(frozen=True)
class ImageParams:
    """What happens to one image.

    Args:
        jitter: (name, amount) in the order of application, empty for none. An amount is an offset
            of brightness or hue (in turns), a factor of contrast or saturation.
        sigma: standard deviation of the blur in pixels, 0 for none.
    """
    jitter: tuple[tuple[str, float], ...] = ()
    sigma: float = 0.


def adjust_saturation(image: Tensor, factor: float) -> Tensor:
    """Scale HSV's saturation and clip it at 1; hue and value stay. image: (..., 3, H, W) in [0, 1].

    Saturation is (top - low) / top; scaling it is the same as scaling each channel's distance from
    the top one, and so needs no way through HSV.
    """
    top, low = image.amax(-3, keepdim=True), image.amin(-3, keepdim=True)
    factor = (top / (top - low).clamp_min(1e-8)).clamp_max(factor)
    return top - (top - image) * factor


def jitter_image(image: Tensor, jitter: Sequence[tuple[str, float]]) -> Tensor:
    """Colour jitter as the family's code knows it: each step is clipped to [0, 1].

    Args:
        image: (..., 3, H, W) RGB in [0, 1].
        jitter: see `ImageParams`.
    """
    for name, amount in jitter:
        if name == 'brightness':
            image = (image + amount).clamp(0, 1)
        elif name == 'contrast':
            image = (image * amount).clamp(0, 1)
        elif name == 'saturation':
            image = adjust_saturation(image, amount)
        else:
            image = tv.adjust_hue(image, amount)
    return image


def blur_image(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W), reflected at the borders, cut off where it no longer matters.

    The kernel reaches three sigma, rounded up to whole pixels. Even on white noise the result is
    within .1 grey level of that of the family's kernel, a tenth of the image, which takes many
    times longer. For speed, too, one axis follows the other.

    Args:
        image: (C, H, W) floating point, of any range.
        sigma: standard deviation in pixels, above 0.
    """
    radius = min(math.ceil(3 * sigma), image.shape[-2] - 1, image.shape[-1] - 1)
    size, sigmas = 2 * radius + 1, [sigma, sigma]
    return tv.gaussian_blur(tv.gaussian_blur(image, [size, 1], sigmas), [1, size], sigmas)


class StrongAugment(nn.Module):
    """Colour jitter and Gaussian blur, as DACS and its successors apply to mixed images.

    The strengths mean what they mean in the family's code: brightness adds, contrast multiplies,
    saturation multiplies that of HSV, hue rotates; in a random order, each image with its own
    amounts and order.

    Deviations: the released code reads its BGR images as RGB; the strengths being symmetric, this
    changes no distribution, and here hue turns the right way. Its blur has a kernel of a tenth of
    the image; see `blur_image`.

    Args:
        mean: that was subtracted from the 0-255 image, in the order of the batch's channels.
        std: that it was divided by.
        channel_order: 'rgb' or 'bgr', of the batch.
        jitter: one strength for all of `JITTERS`, or a dict by name (those left out: 0). A strength
            s draws an offset from [-s, s] or a factor from [1 - s, 1 + s].
        jitter_probability: how often the colours change.
        blur_probability: how often the image is blurred.
        blur_sigma: range of the blur's standard deviation in pixels.
        per: 'batch' decides on jitter and on blur once for the batch, 'image' for each image.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float] = (1., 1., 1.),
                 channel_order: str = 'rgb', jitter: float | dict[str, float] = .25,
                 jitter_probability: float = .8, blur_probability: float = .5,
                 blur_sigma: tuple[float, float] = (.15, 1.15), per: str = 'batch') -> None:
        super().__init__()
        _check_choice('channel_order', channel_order, ('rgb', 'bgr'))
        _check_choice('per', per, ('batch', 'image'))
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f'StrongAugment: mean and std need 3 channels, not {mean} and {std}')
        if not 0 < blur_sigma[0] <= blur_sigma[1]:
            raise ValueError(f'StrongAugment: blur_sigma {blur_sigma} must be an increasing range '
                             'above 0')
        self.channel_order = channel_order
        self.strength = _strengths(jitter)
        self.jitter_probability = jitter_probability
        self.blur_probability = blur_probability
        self.blur_sigma = blur_sigma
        self.per = per
        # Buffers travel with the model's device, but are settings and not state.
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1) / 255, persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1) / 255, persistent=False)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> list[ImageParams]:
        """Parameters for each image.

        Args:
            batch: B.
            generator: a CPU generator; of a :class:`BatchGenerator` each process takes its own
                images. A step whose generator lives on another device keeps a
                second one for this, since its numbers must be known on the host.
        """
        if generator is not None and generator.device.type != 'cpu':
            raise ValueError('StrongAugment.draw needs a CPU generator, whose numbers the host '
                             f'knows at once, but got one on {generator.device}')
        # All is drawn whatever the gates say, so that they do not shift what comes after.
        rank, world = process_of(generator)
        gates = torch.rand(batch * world, 2, generator=generator).tolist()
        shares = torch.rand(batch * world, len(JITTERS) + 1, generator=generator).tolist()
        orders = torch.rand(batch * world, len(JITTERS), generator=generator).argsort(1).tolist()
        if self.per == 'batch':
            gates = gates[:1] * len(gates)
        return [self._params(*drawn) for drawn in list(zip(gates, shares, orders))[rank::world]]

    def _params(self, gates: list[float], shares: list[float], order: list[int]) -> ImageParams:
        *amounts, blur = shares
        jitter = []
        for i in order if gates[0] < self.jitter_probability else ():
            if strength := self.strength[JITTERS[i]]:
                neutral = 1. if JITTERS[i] in ('contrast', 'saturation') else 0.
                jitter.append((JITTERS[i], neutral + strength * (2 * amounts[i] - 1)))
        low, high = self.blur_sigma
        sigma = low + blur * (high - low) if gates[1] < self.blur_probability else 0.
        return ImageParams(tuple(jitter), sigma)

    @torch.no_grad()
    def apply_params(self, images: Tensor, params: Sequence[ImageParams]) -> Tensor:
        """Apply drawn parameters to (B, 3, H, W) normalised images of any floating dtype."""
        with torch.autocast(images.device.type, enabled=False):  # which would blur in half precision
            return torch.stack([self._apply_one(x, p) for x, p in zip(images, params, strict=True)])

    def _apply_one(self, image: Tensor, params: ImageParams) -> Tensor:
        dtype, image = image.dtype, image.float()
        if params.jitter:
            # Exchanging red and blue mirrors the hue circle and leaves all else: no need to copy.
            mirror = -1 if self.channel_order == 'bgr' else 1
            jitter = [(n, a * mirror if n == 'hue' else a) for n, a in params.jitter]
            mean, std = self.mean.float(), self.std.float()
            image = (jitter_image(image * std + mean, jitter) - mean) / std
        if params.sigma:
            image = blur_image(image, params.sigma)
        return image.to(dtype)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw and apply."""
        return self.apply_params(images, self.draw(len(images), generator))


def _strengths(jitter: float | dict[str, float]) -> dict[str, float]:
    given = jitter if isinstance(jitter, dict) else dict.fromkeys(JITTERS, jitter)
    if unknown := set(given) - set(JITTERS):
        raise ValueError(f"StrongAugment: jitter of {', '.join(sorted(unknown))} is not known; "
                         f"available: {', '.join(JITTERS)}")
    strength = {name: float(given.get(name, 0.)) for name in JITTERS}
    for name, value in strength.items():
        limit = .5 if name == 'hue' else 1.
        if not 0 <= value <= limit:
            raise ValueError(f'StrongAugment: jitter {name}={value} must be in [0, {limit}]')
    return strength


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"StrongAugment: {name} '{value}' is not known; "
                         f"available: {', '.join(choices)}")
