"""Branches of the data set as views."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .. import adapter
from ..step import Target, View


def check_branches(method: str, wanted: Iterable[str], given: Iterable[str]) -> None:
    """Raise where the data set lacks a branch that the method reads."""
    if missing := [name for name in wanted if name not in given]:
        raise ValueError(f"{method} needs images of {', '.join(missing)}, but the data set gives "
                         f"{', '.join(given)} alone; train_dataloader needs dataset=dict(type='PairedDataset', "
                         "source=..., target=...) and sampler=dict(type='PairedSampler')")


def branch_view(name: str, image: Tensor, samples: list, num_classes: int, with_probs: bool) -> View:
    """A branch with its ground truth; the target alone may have none, and then asks for nothing.

    Args:
        name: of the branch.
        image: (B, 3, H, W).
        samples: B data samples.
        num_classes: C.
        with_probs: whether the target carries the label as a class distribution too.
    """
    label = adapter.labels_of(samples)
    if label is None:
        if name == 'target':  # read by no mask, view or objective: the tables were checked for it
            return View(image, (), samples=samples)
        raise ValueError(f"branch '{name}' has no labels; its pipeline needs a label-loading transform such as "
                         "dict(type='LoadIdLabels')")
    weight = torch.ones_like(label, dtype=torch.float32)
    probs = one_hot(label, num_classes) if with_probs else None
    return View(image, (Target(label, weight, probs),), samples=samples)


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """(B, H, W) long -> (B, C, H, W) float; all zero where ignored."""
    classes = torch.arange(num_classes, device=label.device)[None, :, None, None]
    return (label[:, None] == classes).float()
