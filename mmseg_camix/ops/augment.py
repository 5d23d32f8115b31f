"""Strong augmentation of a normalised batch: colour jitter, grey images, then Gaussian blur.

Parameters are drawn once (`StrongAugment.draw`) and applied any number of times (`apply_params`). They are plain
numbers of a CPU generator, so that no step waits for the device.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

from .global_batch import process_of

JITTERS = ('brightness', 'contrast', 'saturation', 'hue')
# Jitters whose amounts are added; those of the others are factors.
ADDED = dict(kornia=('brightness', 'hue'), torchvision=('hue',))


@dataclass(frozen=True)
class ImageParams:
    """Augmentation of one image.

    Args:
        jitter: (name, amount) in the order of application. An amount is an offset where `ADDED` says so (of hue in
            turns), and a factor otherwise.
        sigma: standard deviation of the blur in pixels, 0 for none.
        grey: whether the colours are removed, after the jitter.
    """
    jitter: tuple[tuple[str, float], ...] = ()
    sigma: float = 0.
    grey: bool = False


def adjust_saturation(image: Tensor, factor: float) -> Tensor:
    """Scale HSV saturation and clip it at 1; hue and value are unchanged. image: (..., 3, H, W) in [0, 1].

    Saturation is (top - low) / top, so scaling it equals scaling each channel's distance from the largest channel; no
    conversion to HSV is needed.
    """
    top, low = image.amax(-3, keepdim=True), image.amin(-3, keepdim=True)
    return top - (top - image) * (top / (top - low).clamp_min(1e-8)).clamp_max(factor)


def jitter_image(image: Tensor, jitter: Sequence[tuple[str, float]], library: str = 'kornia') -> Tensor:
    """Apply colour jitter of `ImageParams` to (..., 3, H, W) RGB, clipping to [0, 1] after each step."""
    for name, amount in jitter:
        if library == 'torchvision':
            image = getattr(tv, f'adjust_{name}')(image, amount)
        elif name == 'brightness':
            image = (image + amount).clamp(0, 1)
        elif name == 'contrast':
            image = (image * amount).clamp(0, 1)
        elif name == 'saturation':
            image = adjust_saturation(image, amount)
        else:
            image = tv.adjust_hue(image, amount)
    return image


def blur_image(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, H, W) with a separable Gaussian of `sigma` > 0 pixels, reflected at the borders.

    The kernel reaches three sigma, rounded up to whole pixels. Even on white noise the result differs by less than 0.1
    grey levels from that of the kernel in the released code, a tenth of the image, which takes many times longer.
    """
    radius = min(math.ceil(3 * sigma), image.shape[-2] - 1, image.shape[-1] - 1)
    size, sigmas = 2 * radius + 1, [sigma, sigma]
    blurred: Tensor = tv.gaussian_blur(tv.gaussian_blur(image, [size, 1], sigmas), [1, size], sigmas)
    return blurred


class StrongAugment(nn.Module):
    """Colour jitter and Gaussian blur of mixed images, as in DACS and its successors.

    Strengths are defined as in the released code: brightness adds, contrast multiplies, saturation multiplies that of
    HSV, hue rotates; amounts and order are drawn for each image.

    Deviations: the released code interprets its BGR images as RGB; as strengths are symmetric, this affects no
    distribution, and here hue rotates in the right direction. Its blur kernel is larger; see `blur_image`.

    Args:
        mean: subtracted from the 0-255 image, in the channel order of the batch.
        std: divisor of the 0-255 image, likewise.
        channel_order: 'rgb' or 'bgr', of the batch.
        jitter: one strength for all of `JITTERS`, or a dict by name (0 where left out). A strength s draws an offset
            from [-s, s] or a factor from [1 - s, 1 + s].
        jitter_probability: probability that colours change.
        blur_probability: probability that the image is blurred.
        blur_sigma: range of the blur's standard deviation in pixels.
        per: 'batch' decides once for the batch whether to jitter and blur, 'image' for each image.
        grey_probability: probability that an image loses its colours, decided in the same way.
        library: whose definitions the strengths follow: 'kornia' as described above; with 'torchvision', brightness
            multiplies, contrast blends with the mean grey, and saturation with the grey image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float] = (1., 1., 1.), channel_order: str = 'rgb',
                 jitter: float | dict[str, float] = .25, jitter_probability: float = .8, blur_probability: float = .5,
                 blur_sigma: tuple[float, float] = (.15, 1.15), per: str = 'batch',
                 grey_probability: float = 0., library: str = 'kornia') -> None:
        super().__init__()
        _check_choice('channel_order', channel_order, ('rgb', 'bgr'))
        _check_choice('per', per, ('batch', 'image'))
        _check_choice('library', library, tuple(ADDED))
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f'StrongAugment: mean and std need 3 channels, not {mean} and {std}')
        if not 0 < blur_sigma[0] <= blur_sigma[1]:
            raise ValueError(f'StrongAugment: blur_sigma {blur_sigma} must be an increasing range above 0')
        for name, value in (('jitter_probability', jitter_probability), ('blur_probability', blur_probability),
                            ('grey_probability', grey_probability)):
            if not 0 <= value <= 1:
                raise ValueError(f'StrongAugment: {name}={value} must lie in [0, 1]')
        self.channel_order = channel_order
        self.strength = _strengths(jitter)
        self.jitter_probability = jitter_probability
        self.blur_probability = blur_probability
        self.blur_sigma = blur_sigma
        self.per = per
        self.grey_probability = grey_probability
        self.library = library
        # Buffers move with the model, but these are settings and not state.
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1) / 255, persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1) / 255, persistent=False)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> list[ImageParams]:
        """Draw parameters for each image of a batch from a CPU generator, whose numbers do not wait for the device."""
        if generator is not None and generator.device.type != 'cpu':
            raise ValueError(f'StrongAugment.draw needs a CPU generator, but got one on {generator.device}')
        # All numbers are drawn whatever the gates decide, so that they do not shift later draws.
        rank, world = process_of(generator)
        gates = torch.rand(batch * world, 2, generator=generator).tolist()
        shares = torch.rand(batch * world, len(JITTERS) + 1, generator=generator).tolist()
        orders = torch.rand(batch * world, len(JITTERS), generator=generator).argsort(1).tolist()
        # Not drawn where it is not needed, so that augmentations without grey images keep their numbers.
        greys = torch.rand(batch * world, generator=generator).tolist() if self.grey_probability else [1.] * len(gates)
        if self.per == 'batch':
            gates, greys = gates[:1] * len(gates), greys[:1] * len(greys)
        return [self._params(*drawn) for drawn in list(zip(gates, shares, orders, greys))[rank::world]]

    def _params(self, gates: list[float], shares: list[float], order: list[int], grey: float) -> ImageParams:
        *amounts, blur = shares
        jitter = []
        for i in order if gates[0] < self.jitter_probability else ():
            if strength := self.strength[JITTERS[i]]:
                neutral = 0. if JITTERS[i] in ADDED[self.library] else 1.
                jitter.append((JITTERS[i], neutral + strength * (2 * amounts[i] - 1)))
        low, high = self.blur_sigma
        sigma = low + blur * (high - low) if gates[1] < self.blur_probability else 0.
        return ImageParams(tuple(jitter), sigma, grey < self.grey_probability)

    @torch.no_grad()
    def apply_params(self, images: Tensor, params: Sequence[ImageParams]) -> Tensor:
        """Apply drawn parameters to (B, 3, H, W) normalised images of any floating dtype."""
        with torch.autocast(images.device.type, enabled=False):  # it would blur in half precision
            return torch.stack([self._augment(x, p) for x, p in zip(images, params, strict=True)])

    def _augment(self, image: Tensor, params: ImageParams) -> Tensor:
        dtype, image = image.dtype, image.float()
        if params.jitter or params.grey:
            mean, std = self.mean.float(), self.std.float()
            image = (self._recoloured(image * std + mean, params) - mean) / std
        if params.sigma:
            image = blur_image(image, params.sigma)
        return image.to(dtype)

    def _recoloured(self, image: Tensor, params: ImageParams) -> Tensor:
        """The image (3, H, W) in [0, 1] with its colours changed."""
        bgr = self.channel_order == 'bgr'
        image = jitter_image(image.flip(-3) if bgr else image, params.jitter, self.library)
        if params.grey:
            image = tv.rgb_to_grayscale(image, num_output_channels=3)
        return image.flip(-3) if bgr else image

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw and apply."""
        return self.apply_params(images, self.draw(len(images), generator))


def _strengths(jitter: float | dict[str, float]) -> dict[str, float]:
    given = jitter if isinstance(jitter, dict) else dict.fromkeys(JITTERS, jitter)
    for name in given:
        _check_choice('jitter of', name, JITTERS)
    strength = {name: float(given.get(name, 0.)) for name in JITTERS}
    for name, value in strength.items():
        limit = .5 if name == 'hue' else 1.
        if not 0 <= value <= limit:
            raise ValueError(f'StrongAugment: jitter {name}={value} must be in [0, {limit}]')
    return strength


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"StrongAugment: {name} '{value}' is unknown; available: {', '.join(choices)}")
