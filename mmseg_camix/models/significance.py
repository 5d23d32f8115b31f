"""CAMix's significance mask: where the teacher's predictions are stable under noise."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, profiler

from mmseg_camix.ops import entropy as ops
from mmseg_camix.ops.global_batch import BatchGenerator, process_of, randn
from mmseg_camix.ops.pseudo import valid_mean

from .norms import frozen_statistics
from .step import Step

FORMS = ('paper', 'official')
BOUNDS = ('sample', 'classes')
UNITS = ('imagenet', 'input')
IMAGENET_STD = (58.395, 57.12, 57.375)  # RGB, grey levels
DTYPES = {'fp32': None, 'bf16': torch.bfloat16}
# The noise has its own random stream, so that masks do not depend on the number of passes: rows of an ablation then
# draw the same classes.
_NOISE_STREAM = 0x51ED2701


class SignificanceMask(nn.Module):
    """U_T = entropy of the mean of L noisy predictions < R(t)  (CAMix, Eqs 5 to 7).

    Deviations:
        Noise: paper silent. Released code: 0.1 N(0, 1) on images of 0 to 255, but the bounds of its clamp are
        exchanged, so that it adds the constant -0.2 and all passes agree (``noise_unit='input', clamp=(0.2, -0.2)``
        with an input of unit deviation). Ours: noise of 0.1, clamped at 0.2, standard deviations of an ImageNet
        image, which is 5.8 grey levels for every network.
        Entropy: the code's is NaN where a probability underflows, which rejects the most confident pixels.
        Ours: xlogy; and the binary mask is upsampled by nearest neighbour, not bilinearly.
        Threshold: ours as Eq. 7 is printed, with K_sup the largest entropy of the sample; ``form='official',
        bound='classes'`` is the code's (beta + (1 - beta) ramp) ln C.

    Args:
        passes: L.
        noise: standard deviation of the noise.
        clamp: its largest absolute value, or its (lowest, highest) value. As in `torch.clamp`, the highest one
            replaces all values where the lowest exceeds it.
        beta: initial state of the threshold.
        gamma: exponent of its ramp.
        form: how the parts of Eq. 7 are combined: 'paper' or 'official'.
        bound: K_sup: the largest entropy of the 'sample', or ln C of all 'classes'.
        t_max: iteration at which the ramp ends; None for the end of the training.
        copies_at_once: number of noisy copies of the batch in one pass of the teacher; fewer need less memory. The
            noise is the same; a teacher with ``norm='batch'`` normalises over all copies of a pass, so that its
            predictions depend slightly on their number.
        scale: resolution of the noisy passes, as a share of the crop's (fast mode).
        reuse_clean: use the clean pass as one of the L (fast mode).
        dtype: 'fp32' as the rest of the step, or 'bf16' for passes under autocast (fast mode).
        noise_unit: unit of the noise and its clamp: 'imagenet', the standard deviation of each channel of ImageNet's
            images; or 'input', the unit of the network's normalised input (grey levels if its ``std`` is 1).
    """

    unit: Tensor
    """Unit of the noise, in that of the input, (1, 3, 1, 1)."""

    def __init__(self, passes: int = 8, noise: float = 0.1, clamp: float | Sequence[float] = 0.2,
                 beta: float = 0.75, gamma: float = -5.0, form: str = 'paper', bound: str = 'sample',
                 t_max: int | None = None, copies_at_once: int = 1, scale: float = 1.0,
                 reuse_clean: bool = False, dtype: str = 'fp32', noise_unit: str = 'imagenet') -> None:
        super().__init__()
        for name, value, valid in (('form', form, FORMS), ('bound', bound, BOUNDS), ('dtype', dtype, DTYPES),
                                   ('noise_unit', noise_unit, UNITS)):
            if value not in valid:
                raise ValueError(f"{name}='{value}' must be one of {', '.join(valid)}")
        if passes < 1 or copies_at_once < 1 or not 0 < scale <= 1:
            raise ValueError(f'passes={passes} and copies_at_once={copies_at_once} must be at '
                             f'least 1, scale={scale} in (0, 1]')
        if noise < 0 or (t_max is not None and t_max < 1):
            raise ValueError(f'noise={noise} must be at least 0, t_max={t_max} at least 1 '
                             '(None for the end of the training)')
        if gamma > 0:
            raise ValueError(f'gamma={gamma} must not be positive: the threshold rises with '
                             'exp(gamma (1 - t / t_max)^2); the paper has gamma=-5')
        self.passes, self.noise, self.bounds, self.noise_unit = passes, noise, _bounds(clamp), noise_unit
        self.beta, self.gamma, self.form, self.bound, self.t_max = beta, gamma, form, bound, t_max
        self.copies_at_once, self.scale = copies_at_once, scale
        self.reuse_clean, self.dtype = reuse_clean, dtype
        self.register_buffer('unit', torch.ones(1, 3, 1, 1), persistent=False)
        self.entropy: Tensor | None = None
        """(B, h, w) of the last step, for the log."""
        self._statistics: dict[str, Tensor] = {}
        self._generator: BatchGenerator | None = None

    def set_normalisation(self, std: Sequence[float], channel_order: str) -> None:
        """Set the unit of the noise; the wrapper calls it when it is built.

        Args:
            std: by which the network's preprocessor divides each channel, in the order of its input.
            channel_order: 'rgb' or 'bgr', that order.
        """
        if self.noise_unit == 'imagenet':
            imagenet = IMAGENET_STD if channel_order == 'rgb' else IMAGENET_STD[::-1]
            self.unit = (torch.tensor(imagenet) / torch.tensor(std)).view(1, 3, 1, 1)

    @torch.no_grad()
    def forward(self, step: Step, image: Tensor) -> Tensor:
        """U_T of the target's image (B, 3, H, W): (B, H, W) bool, False on padding."""
        with profiler.record_function('significance forward'):
            probs = ops.mean_probabilities(self._passes(step, image))
        self.entropy = ops.predictive_entropy(probs)
        valid = step.valid_mask('target', image)
        cells = None if valid is None else ops.resize_mask(valid, (self.entropy.shape[1], self.entropy.shape[2]))
        bound: Any = ops.largest_entropy(self.entropy, cells) if self.bound == 'sample' else math.log(step.num_classes)
        progress = step.progress
        threshold = ops.dynamic_threshold(progress.iteration, self.t_max or progress.max_iters, bound,
                                          self.beta, self.gamma, self.form)
        significant = ops.significance_mask(self.entropy, threshold)
        if not isinstance(threshold, Tensor):  # fill it on the device, because a copy would wait for it
            threshold = torch.full((), threshold, device=image.device)
        self._statistics = {
            'significance/threshold': threshold.mean(),
            'significance/kept': valid_mean(significant.float(), cells)}
        mask = ops.resize_mask(significant, (image.shape[2], image.shape[3]))
        return mask if valid is None else mask & valid

    def statistics(self) -> dict[str, Tensor]:
        """Threshold and kept share of target pixels at the last step."""
        return self._statistics

    def _passes(self, step: Step, image: Tensor) -> Iterator[Tensor]:
        """Yield the logits (B, C, h, w) of each pass."""
        assert step.teacher_logits is not None
        generator = self._seeded(step.generator)
        noisy = self.passes
        if self.reuse_clean:
            noisy -= 1
            yield step.teacher_logits
        size = step.teacher_logits.shape[2:]
        if self.scale != 1:
            image = F.interpolate(image, scale_factor=self.scale, mode='bilinear', align_corners=False)
        for start in range(0, noisy, self.copies_at_once):
            copies = min(self.copies_at_once, noisy - start)
            logits = self._logits(step, torch.cat([self.add_noise(image, generator) for _ in range(copies)]))
            if logits.shape[2:] != size:
                logits = F.interpolate(logits.float(), size=size, mode='bilinear', align_corners=step.align_corners)
            yield from logits.chunk(copies)

    def _seeded(self, of_step: torch.Generator) -> torch.Generator:
        """A generator seeded from the step's, on its device; nothing is drawn from the step's."""
        if self._generator is None or self._generator.device != of_step.device:
            self._generator = BatchGenerator(of_step.device)
        self._generator.rank, self._generator.world = process_of(of_step)
        self._generator.manual_seed(of_step.initial_seed() ^ _NOISE_STREAM)
        return self._generator

    def add_noise(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """The image (B, 3, H, W) with clamped noise."""
        noise = randn(image.shape, generator, image.device, image.dtype)
        low, high = self.bounds
        return image + (noise * self.noise).clamp_(low, high) * self.unit.to(image.dtype)

    def _logits(self, step: Step, images: Tensor) -> Tensor:
        dtype = DTYPES[self.dtype]
        assert step.teacher is not None
        cast = torch.autocast(images.device.type, dtype=dtype) if dtype else nullcontext()
        with frozen_statistics(step.teacher.model), cast:
            logits: Tensor = step.teacher(images)
        return logits


def _bounds(clamp: float | Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value of the noise."""
    if isinstance(clamp, (int, float)) and clamp >= 0:
        return -clamp, clamp
    if isinstance(clamp, Sequence) and len(clamp) == 2:
        return clamp[0], clamp[1]
    raise ValueError(f'clamp={clamp} must be a number of at least 0, or the lowest and the highest value')
