"""Pseudo-labels: the teacher's predictions of the target images, and their weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import pseudo as ops
from mmseg_camix.ops.global_batch import Average, identity
from mmseg_camix.ops.losses import upsample

from .building import choices, construct
from .crop_places import crop_places
from .significance import SignificanceMask
from .step import Step, Target, View

SCOPES = ('target', 'view')
SIDES = ('top', 'bottom', 'left', 'right')


@MODELS.register_module()
class PseudoLabels(nn.Module):
    """Arg-max of the teacher, weighted by q, the share of pixels above a confidence threshold.

    The padding of target images smaller than the crop is ignored and not counted.

    Deviations:
        Paper (DACS): q per image, on the whole mixed loss. Released code: q over the batch, on the pixels that come
        from the target. Ours: as the code, which all successors build on; ``per='image', scope='view'`` is the paper's.

    Args:
        threshold: confidence from which a pixel counts, in [0, 1].
        per: whether q is the share of each 'image' or of the whole 'batch'.
        scope: whether q is a factor of 'target' pixels only, or of the whole 'view' in which they are pasted.
        weighted: False gives all pixels full weight (q = 1).
        ignore_top: rows at the top of the crop that get weight 0.
        ignore_bottom: rows at the bottom (the car's bonnet) that get weight 0.
        margins: widths of the margins of the image (not of the crop) that get weight 0: ``top`` and ``bottom`` as
            shares of its height, ``left`` and ``right`` of its width.
        align: arguments of :class:`DistributionAlignment`; None leaves predictions as they are.
        significance: arguments of :class:`SignificanceMask` (CAMix); None takes every pixel as significant.
        quota: arguments of :class:`ClassQuota`; None keeps all pixels.
    """

    def __init__(self, threshold: float = 0.968, per: str = 'batch', scope: str = 'target', weighted: bool = True,
                 ignore_top: int = 0, ignore_bottom: int = 0, margins: Mapping[str, float] | None = None,
                 align: Mapping[str, Any] | None = None, significance: Mapping[str, Any] | None = None,
                 quota: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        for argument, value, valid in (('per', per, ops.SHARES), ('scope', scope, SCOPES)):
            if value not in valid:
                raise ValueError(f"{argument}='{value}' must be one of {', '.join(valid)}")
        if not 0 <= threshold <= 1:
            raise ValueError(f'threshold={threshold} must lie in [0, 1]; it is a probability')
        self.threshold, self.per, self.scope, self.weighted = threshold, per, scope, weighted
        self.ignore_top, self.ignore_bottom = ignore_top, ignore_bottom
        self.margins = _checked_margins(margins or {})
        self.align = construct('align', DistributionAlignment, align) if align else None
        self.significance = (None if significance is None else
                             construct('significance', SignificanceMask, significance))
        self.quota = None if quota is None else construct('quota', ClassQuota, quota)
        self.keep_probs = False
        """Set by the wrapper where an objective compares distributions."""

    def set_num_classes(self, num_classes: int) -> None:
        """Set the number of classes; the wrapper calls it when it is built."""
        if self.align is not None:
            self.align.set_num_classes(num_classes)
        if self.quota is not None:
            self.quota.set_num_classes(num_classes)

    def set_normalisation(self, std: Sequence[float], channel_order: str) -> None:
        """Set the normalisation of images, which is the unit of noise; the wrapper calls it when it is built."""
        if self.significance is not None:
            self.significance.set_normalisation(std, channel_order)

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Read what only training needs; called before training."""
        if self.align is not None:
            self.align.prepare()

    def forward(self, step: Step, image: Tensor) -> View:
        """The target's image, (B, 3, H, W), with its pseudo-labels."""
        valid = step.valid_mask('target', image)
        confidence, label, probs = self._predict(step, image, valid)
        share = self._share(step, confidence, valid)
        rows = ops.row_weight(image.shape[2], self.ignore_top, self.ignore_bottom, image.device)
        weight, scale = rows.expand_as(confidence), share[:, None, None]
        if self.margins:
            weight = weight * self._margin_weight(step, image)
        if valid is not None:
            weight, label = weight * valid, label.masked_fill(~valid, step.ignore_index)
        if self.quota is not None:
            kept = self.quota(confidence, label, step.processes.average)
            weight = weight * kept
            step.statistics['pseudo/kept'] = ops.valid_mean(kept.float(), valid)
        if self.scope == 'target':
            weight = weight * scale
        step.statistics['pseudo/q'] = share.mean()
        step.statistics['pseudo/confidence'] = ops.valid_mean(confidence, valid)
        return View(image, (Target(label, weight, probs, self._significant(step, image)),),
                    scale if self.scope == 'view' else None)

    def _margin_weight(self, step: Step, image: Tensor) -> Tensor:
        size = (image.shape[2], image.shape[3])
        boxes, flips = crop_places(step.samples['target'], size, image.device, 'pseudo_labels.margins')
        return ops.margin_weight(boxes, flips, size, **self.margins)

    def _significant(self, step: Step, image: Tensor) -> Tensor | None:
        if self.significance is None:
            return None
        mask = self.significance(step, image)
        step.statistics.update(self.significance.statistics())
        return mask.float()

    def _predict(self, step: Step, image: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Confidence and label, (B, H, W), and the distributions (B, C, H, W) if they are kept."""
        assert step.teacher_logits is not None
        size = (image.shape[2], image.shape[3])
        if self.align is None and not self.keep_probs:  # the whole softmax is not needed
            return *ops.confidence_and_label(step.teacher_logits, size, step.align_corners), None
        probs = upsample(step.teacher_logits, size, step.align_corners).softmax(1)
        if self.align is not None:
            probs = self.align(probs, step.processes.average, valid)
        return *probs.max(1), probs if self.keep_probs else None

    def _share(self, step: Step, confidence: Tensor, valid: Tensor | None) -> Tensor:
        if not self.weighted:
            return confidence.new_ones(len(confidence))
        return ops.confident_share(confidence, self.threshold, self.per, valid, step.processes.average)


def _checked_margins(margins: Mapping[str, float]) -> dict[str, float]:
    for side, width in margins.items():
        if side not in SIDES:
            raise ValueError(f"margins: '{side}' is not a side{choices(side, SIDES)}")
        if not 0 <= width < 1:
            raise ValueError(f'margins: {side}={width} must lie in [0, 1); it is a share of the image')
    for first, second in (('top', 'bottom'), ('left', 'right')):
        if margins.get(first, 0) + margins.get(second, 0) >= 1:
            raise ValueError(f'margins: {first} and {second} leave nothing of the image; their sum must be below 1')
    return dict(margins)


class DistributionAlignment(nn.Module):
    """Predictions times p / p~, normalised: p is a prior, p~ a running average of predictions.

    DACS paper, section 4.5 and Table 3.

    Args:
        prior: class frequencies: a list, or the path of a JSON file with the class statistics of a data set. The paper
            takes the target's ground truth, which is unknown in practice: an upper bound on the effect of a good prior.
        momentum: share of the old value in the running average.
    """

    prior: Tensor | None
    running: Tensor

    def __init__(self, prior: Sequence[float] | str, momentum: float = 0.99) -> None:
        super().__init__()
        self.source, self.momentum = prior, momentum
        self.register_buffer('prior', None, persistent=False)
        self.register_buffer('running', None)

    def set_num_classes(self, num_classes: int) -> None:
        """Allocate the running average, which is part of checkpoints; zeros mean that it has not begun."""
        self.running = torch.zeros(num_classes)

    def prepare(self) -> None:
        """Read the prior; called before training only, because testing does not need its file."""
        values = _read_frequencies(self.source) if isinstance(self.source, str) else self.source
        prior = torch.tensor(values, dtype=torch.float32, device=self.running.device)
        if prior.shape != self.running.shape or bool((prior < 0).any()) or float(prior.sum()) <= 0:
            raise ValueError(f'align: prior must be the frequencies of {len(self.running)} classes, at least 0 '
                             f'and not all 0; got {prior.tolist()}')
        self.prior = prior / prior.sum()

    def forward(self, probs: Tensor, average: Average = identity, valid: Tensor | None = None) -> Tensor:
        """The aligned distribution of each pixel, (B, C, H, W); the average counts those in `valid`, (B, H, W)."""
        if self.prior is None:
            raise RuntimeError('align: the prior is not loaded; UDAHook does it before training, outside a '
                               'Runner call `model.prepare(dataset.metainfo)`')
        self.running.copy_(torch.where(self.running.sum() > 0, self.running, self.prior))
        ops.update_running_(self.running, probs, self.momentum, average, valid)
        return ops.align_distribution(probs, self.prior, self.running)


class ClassQuota(nn.Module):
    """The most confident share of each predicted class, by running histograms of the confidence.

    One threshold for all classes keeps those that the network is sure of already, so that rare ones die out in
    self-training; a share of each class keeps them (CBST: Zou et al., Unsupervised Domain Adaptation for Semantic
    Segmentation via Class-Balanced Self-Training, ECCV 2018).

    Deviations:
        CBST: thresholds from the labels of the whole target set, once per round, with a growing share. Ours: from a
        running histogram, in each step.

    Args:
        share: of the pixels of each class, in (0, 1].
        momentum: share of the old counts in the running histogram.
        bins: of the histogram; pixels of one bin are kept or left out together.
    """

    counts: Tensor

    def __init__(self, share: float = 0.5, momentum: float = 0.95, bins: int = 200) -> None:
        super().__init__()
        if not 0 < share <= 1 or not 0 <= momentum < 1 or bins < 2:
            raise ValueError(f'share={share} must lie in (0, 1], momentum={momentum} in [0, 1), bins={bins} must be at '
                             'least 2')
        self.share, self.momentum, self.bins = share, momentum, bins
        self.register_buffer('counts', None)

    def set_num_classes(self, num_classes: int) -> None:
        """Allocate the histograms, which are part of checkpoints."""
        self.counts = torch.zeros(num_classes, self.bins)

    def forward(self, confidence: Tensor, label: Tensor, average: Average = identity) -> Tensor:
        """Pixels that are kept, (B, H, W) bool; the batch is counted first."""
        batch = average(ops.confidence_histogram(confidence, label, len(self.counts), self.bins))
        self.counts.mul_(self.momentum).add_(batch, alpha=1 - self.momentum)
        thresholds = ops.class_thresholds(self.counts, self.share)
        return confidence >= thresholds[label.clamp(0, len(self.counts) - 1)]


def _read_frequencies(path: str) -> Sequence[float]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f'align: no class statistics at {path}; make them with '
                                '`mmseg-camix stats`')
    frequencies: list[float] = json.loads(file.read_text())['total_pixels']
    return frequencies
