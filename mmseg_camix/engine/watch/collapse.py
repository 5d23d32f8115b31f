"""Variety and confidence of the teacher's predictions, and their agreement with the student's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_camix.models.step import Step
from mmseg_camix.ops.pseudo import confidence_and_label

SCALARS = 4
"""Entries of :func:`measure` after the two histograms."""


@torch.no_grad()
def measure(step: Step, views: Mapping[str, nn.Module], threshold: float) -> Tensor:
    """Counts of one batch, on the device; they add up over batches and processes.

    Everything is counted at the resolution of the logits and from what the step has computed: no network runs.

    Args:
        step: with pseudo-labels and the student's passes.
        views: the model's table of views.
        threshold: confidence from which a pixel counts as confident.

    Returns:
        (2 C + 4,) float64: pixels per class in the pseudo-labels; pixels per class in the source's ground truth;
        confident pixels, pixels; target pixels where student and teacher agree, target pixels in the student's views.
    """
    logits = step.teacher_logits
    confidence, _ = confidence_and_label(logits, tuple(logits.shape[2:]), step.align_corners)
    predicted = histogram(step.views['target'].target.label, step.num_classes)
    labels = step.views['source'].targets if 'source' in step.views else ()
    source = histogram(labels[0].label, step.num_classes) if labels else torch.zeros_like(predicted)
    confident = torch.stack([(confidence >= threshold).sum(), torch.full_like(predicted[0], confidence.numel()).long()])
    return torch.cat([predicted, source, confident.double(), _agreement(step, views)])


def histogram(label: Tensor, num_classes: int, max_values: int = 1 << 16) -> Tensor:
    """Pixels per class, (C,) float64, over about ``max_values`` evenly strided pixels; void is not counted."""
    values = label.flatten()
    values = values[::math.ceil(values.numel() / max_values)]
    index = torch.where((values >= 0) & (values < num_classes), values, num_classes)  # void is one more class
    counts = torch.zeros(num_classes + 1, dtype=torch.float64, device=label.device)
    return counts.scatter_add_(0, index, torch.ones_like(index, dtype=torch.float64))[:num_classes]


def _agreement(step: Step, views: Mapping[str, nn.Module]) -> Tensor:
    """(2,): target pixels where the student's class is the teacher's, and target pixels in any of its views."""
    total = torch.zeros(2, dtype=torch.float64, device=step.teacher_logits.device)
    for name, student in step.passes.items():
        target = target_pixels(step, views, name)
        if student.logits is None or target is None:
            continue
        size = student.logits.shape[2:]
        region, label = (nn.functional.interpolate(pixels[:, None].to(torch.uint8), size=size, mode='nearest')[:, 0]
                         for pixels in target)
        counted = region.bool() & (label != step.ignore_index)
        agreed = counted & (student.logits.argmax(1) == label)
        total += torch.stack([agreed.sum(), counted.sum()])
    return total


def target_pixels(step: Step, views: Mapping[str, nn.Module], name: str) -> tuple[Tensor, Tensor] | None:
    """Where a view consists of the target only, (B, H, W) bool, and its pseudo-labels there, (B, H, W) long.

    None for a view without any of the target.
    """
    view = step.views[name]
    if name == 'target':
        return torch.ones_like(view.target.label, dtype=torch.bool), view.target.label
    if name not in views:  # another branch
        return None
    builder = views[name]
    parts = [target_pixels(step, views, part) for part in builder.reads_at(step.progress)]
    if all(part is None for part in parts):
        return None
    if builder.mask is None:  # images may have been permuted, but only together with their labels
        return parts[0][0], view.targets[0].label
    mask = step.masks[builder.mask][:, 0]
    nothing = torch.zeros_like(mask), torch.full_like(mask, step.ignore_index, dtype=torch.long)
    inside, outside = (nothing if part is None else part for part in parts)
    if getattr(builder, 'opacity', 1) < 1:  # a blend is not the target only
        inside = nothing
    return tuple(torch.where(mask, *pair) for pair in zip(inside, outside))


def effective_classes(histogram: Tensor) -> float:
    """exp(entropy) of the class shares: n for n equally frequent classes, 1 for a single class."""
    share = histogram / histogram.sum().clamp_min(1e-12)
    return float(torch.special.xlogy(share, share).sum().neg().exp())


@dataclass(frozen=True)
class Reading:
    """Statistics of the counts of some batches."""

    classes: float
    """Effective number of classes in the pseudo-labels."""
    source_classes: float
    """Likewise in the source's ground truth of the same batches."""
    confident: float
    """Share of pixels whose confidence reaches the threshold."""
    agreement: float
    """Share of target pixels where student and teacher agree; NaN if no view has any."""
    top_class: int
    """The most frequent class of the pseudo-labels."""
    top_share: float

    @classmethod
    def of(cls, counts: Tensor) -> Reading:
        """The statistics of the counts of :func:`measure`."""
        num_classes = (len(counts) - SCALARS) // 2
        predicted, source = counts[:num_classes], counts[num_classes:2 * num_classes]
        confident, pixels, agreed, compared = counts[2 * num_classes:].tolist()
        top = int(predicted.argmax())
        return cls(effective_classes(predicted), effective_classes(source), confident / max(pixels, 1e-12),
                   agreed / compared if compared > 0 else math.nan, top,
                   float(predicted[top] / predicted.sum().clamp_min(1e-12)))
