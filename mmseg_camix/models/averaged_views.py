"""Test-time augmentation: one prediction from several views of an image."""

from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AveragedViews(BaseTTAModel):
    """Averages the class probabilities of all views and takes the most probable class.

    Wraps any segmentor, adapted or not. Unlike mmseg's `SegTTAModel` it holds the probabilities of one view at a time,
    and adds the average to the samples as ``probabilities`` (C, H, W). Its data come from the transform
    `AugmentedViews`.

    Args:
        module: the model, or its config.
        data_preprocessor: for a model that has none of its own.
    """

    def __init__(self, module: dict[str, Any] | nn.Module, data_preprocessor: dict[str, Any] | None = None) -> None:
        if isinstance(module, dict) and module.get('data_preprocessor') is not None:
            data_preprocessor = None  # the module's own wins; mmengine would replace it
        super().__init__(module, data_preprocessor)

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """data: ``inputs`` and ``data_samples``, each a list of views of lists of images."""
        views = [dict(inputs=list(inputs), data_samples=list(samples))
                 for inputs, samples in zip(data['inputs'], data['data_samples'])]
        first: list[Any] = []
        totals: list[Tensor] = []
        for view in views:
            samples = self.module.test_step(view)
            probs = [_probabilities(sample.seg_logits.data) for sample in samples]
            totals = probs if not first else [total.add_(prob) for total, prob in zip(totals, probs)]
            first = first or samples
        return self.merge_preds([[sample] for sample in first], [total / len(views) for total in totals])

    def merge_preds(self, data_samples_list: list[Any], averages: list[Tensor]) -> list[Any]:
        """The first view's samples, which have the labels, with the prediction of all."""
        merged = [views[0] for views in data_samples_list]
        for sample, average in zip(merged, averages):
            sample.set_data(dict(probabilities=PixelData(data=average),
                                 pred_sem_seg=PixelData(data=average.argmax(0, keepdim=True))))
            del sample.seg_logits  # only of the first view
        return merged


def _probabilities(logits: Tensor) -> Tensor:
    """(C, H, W), in single precision."""
    if logits.shape[0] == 1:
        raise ValueError('views cannot be averaged for a head with one output channel (a sigmoid); '
                         'give the head out_channels=2, or do not use test-time augmentation')
    return logits.float().softmax(0)
