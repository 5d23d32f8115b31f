"""Batches that are transferred from the workers as few tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmseg.structures import SegDataSample
from torch import Tensor


@FUNCTIONS.register_module()
def branch_collate(items: Sequence[dict]) -> dict:
    """Collate branches like mmengine's ``pseudo_collate``, with images and labels of one size stacked in the worker.

    Each tensor of a worker costs a round trip; a stack is one tensor. Labels are transferred as bytes beside their
    data samples; the model's preprocessor puts them back (:func:`~mmseg_camix.models.uda.preprocessor.return_labels`).
    """
    batch = pseudo_collate(items)
    for branch in batch.values():
        images = branch['inputs']
        if len({image.shape for image in images}) == 1:
            branch['inputs'] = torch.stack(list(images))
        labels = _take_labels(branch['data_samples'])
        if labels is not None:
            branch['labels'] = labels
    return batch


def _take_labels(samples: list) -> Tensor | None:
    """(B, 1, H, W) uint8, taken out of the samples; None where they do not fit into it."""
    if not all(isinstance(sample, SegDataSample) and sample.keys() == ['gt_sem_seg']
               and sample.gt_sem_seg.keys() == ['data'] for sample in samples):
        return None
    labels = [sample.gt_sem_seg.data for sample in samples]
    if len({(label.shape, label.dtype) for label in labels}) > 1 or labels[0].dtype != torch.int64:
        return None
    stacked = torch.stack(labels)
    if stacked.numel() == 0 or stacked.min() < 0 or stacked.max() > 255:
        return None
    for sample in samples:
        del sample.gt_sem_seg
    return stacked.byte()
