"""Pseudo-labels: what the teacher says about the target images, and how much it is trusted."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import pseudo as ops
from mmseg_camix.ops.global_batch import Average, identity
from mmseg_camix.ops.losses import upsample

from .significance import SignificanceMask
from .step import Step, Target, View

SCOPES = ('target', 'view')


@MODELS.register_module()
class PseudoLabels(nn.Module):
    """Arg-max of the teacher, weighted by q, the share of pixels above a confidence threshold.

    Where a target image smaller than the crop was padded, nothing is asked and nothing is counted.

    Deviations:
        Paper (DACS): q per image, on the whole mixed loss. Released code: q over the batch, on the
        pixels that come from the target. Ours: as the code, which all successors build on;
        ``per='image', scope='view'`` is the paper's.

    Args:
        threshold: confidence from which a pixel counts.
        per: whether q is the share of each 'image' or of the whole 'batch'.
        scope: q weighs 'target' pixels only, or the loss of the whole 'view' they are pasted in.
        weighted: False trusts all pixels fully (q = 1).
        ignore_top: rows at the top of the crop that get weight 0.
        ignore_bottom: rows at the bottom (the car's bonnet) that get weight 0.
        align: arguments of :class:`DistributionAlignment`; None leaves predictions as they are.
        significance: arguments of :class:`SignificanceMask` (CAMix); None takes every pixel as
            significant.
    """

    def __init__(self, threshold: float = 0.968, per: str = 'batch', scope: str = 'target',
                 weighted: bool = True, ignore_top: int = 0, ignore_bottom: int = 0,
                 align: dict | None = None, significance: dict | None = None) -> None:
        super().__init__()
        for argument, value, valid in (('per', per, ops.SHARES), ('scope', scope, SCOPES)):
            if value not in valid:
                raise ValueError(f"pseudo_labels: {argument}='{value}' must be one of {', '.join(valid)}")
        self.threshold, self.per, self.scope, self.weighted = threshold, per, scope, weighted
        self.ignore_top, self.ignore_bottom = ignore_top, ignore_bottom
        self.align = DistributionAlignment(**align) if align else None
        self.significance = SignificanceMask(**significance) if significance is not None else None
        self.keep_probs = False
        """Set by the wrapper where an objective compares distributions."""

    def set_num_classes(self, num_classes: int) -> None:
        """Told by the wrapper when it is built."""
        if self.align is not None:
            self.align.set_num_classes(num_classes)

    def prepare(self, metainfo: dict) -> None:
        """Read what only training needs; called by the hook."""
        if self.align is not None:
            self.align.prepare()

    def forward(self, step: Step, image: Tensor) -> View:
        """image: (B, 3, H, W) of the target. The view holds its pseudo-labels."""
        confidence, label, probs = self._predict(step, image.shape[2:])
        shown = step.shown('target', image)
        share = self._share(step, confidence, shown)
        rows = ops.row_weight(image.shape[2], self.ignore_top, self.ignore_bottom, image.device)
        weight, scale = rows.expand_as(confidence), share[:, None, None]
        if shown is not None:
            weight, label = weight * shown, label.masked_fill(~shown, step.ignore_index)
        if self.scope == 'target':
            weight, scale = weight * scale, None
        step.statistics['pseudo/q'] = share.mean()
        step.statistics['pseudo/confidence'] = confidence.mean()
        return View(image, (Target(label, weight, probs, self._significant(step, image)),), scale)

    def _significant(self, step: Step, image: Tensor) -> Tensor | None:
        if self.significance is None:
            return None
        mask = self.significance(step, image)
        step.statistics.update(self.significance.statistics())
        return mask.float()

    def _predict(self, step: Step, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.align is None and not self.keep_probs:  # the whole softmax is not needed
            return *ops.confidence_and_label(step.teacher_logits, size, step.align_corners), None
        probs = upsample(step.teacher_logits, size, step.align_corners).softmax(1)
        if self.align is not None:
            probs = self.align(probs, step.processes.average)
        return *probs.max(1), probs if self.keep_probs else None

    def _share(self, step: Step, confidence: Tensor, shown: Tensor | None) -> Tensor:
        if not self.weighted:
            return confidence.new_ones(len(confidence))
        return ops.confident_share(confidence, self.threshold, self.per, shown, step.processes.average)


class DistributionAlignment(nn.Module):
    """Predictions times p / p~, normalised: p is a prior, p~ a running average of predictions.

    DACS paper, section 4.5 and Table 3.

    Args:
        prior: class frequencies: a list, or the path of a JSON file with the class statistics of a
            data set. The paper takes the target's ground truth, which a real user does not have: a
            bound on what a good prior can do.
        momentum: share of the old value in the running average.
    """

    def __init__(self, prior: list[float] | str, momentum: float = 0.99) -> None:
        super().__init__()
        self.source, self.momentum = prior, momentum
        self.register_buffer('prior', None, persistent=False)
        self.register_buffer('running', None)

    def set_num_classes(self, num_classes: int) -> None:
        """Make room for the running average, which is part of checkpoints; zero means not begun."""
        self.running = torch.zeros(num_classes)

    def prepare(self) -> None:
        """Read the prior; called before training, so that testing does not need its file."""
        values = _read_frequencies(self.source) if isinstance(self.source, str) else self.source
        prior = torch.tensor(values, dtype=torch.float32, device=self.running.device)
        if prior.shape != self.running.shape or bool((prior < 0).any()) or float(prior.sum()) <= 0:
            raise ValueError(f'align: prior must be the frequencies of {len(self.running)} classes, at least 0 '
                             f'and not all 0; got {prior.tolist()}')
        self.prior = prior / prior.sum()

    def forward(self, probs: Tensor, average: Average = identity) -> Tensor:
        """probs: (B, C, H, W), any float; returns the aligned distribution of each pixel.

        ``average`` takes a mean to that over several processes with a batch in common.
        """
        if self.prior is None:
            raise RuntimeError('align: the prior is not loaded; UDAHook does it before training, outside a '
                               'Runner call `model.prepare(dataset.metainfo)`')
        self.running.copy_(torch.where(self.running.sum() > 0, self.running, self.prior))
        ops.update_running_(self.running, probs, self.momentum, average)
        return ops.align_distribution(probs, self.prior, self.running)


def _read_frequencies(path: str) -> list[float]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f'align: no class statistics at {path}; make them with '
                                '`python tools/dataset/class_stats.py`')
    return json.loads(file.read_text())['total_pixels']
