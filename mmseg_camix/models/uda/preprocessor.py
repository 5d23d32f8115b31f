"""The segmentor's own data preprocessor, applied to every branch of a batch."""

from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.data_preprocessor import SegDataPreProcessor
from torch import Tensor, nn

Config = dict[str, Any]


def with_preprocessor(segmentor: Config, data_preprocessor: Config | None) -> Config:
    """The segmentor's config, with this preprocessor if it has none of its own."""
    if data_preprocessor is None or segmentor.get('data_preprocessor') is not None:
        return segmentor
    return {**segmentor, 'data_preprocessor': data_preprocessor}


def return_labels(branch: Config, device: torch.device) -> Config:
    """The branch in the layout of ``pseudo_collate``: each data sample has its label, on this device."""
    if 'labels' not in branch:
        return branch
    labels = branch['labels'].to(device, non_blocking=True).long()
    for sample, label in zip(branch['data_samples'], labels):
        sample.gt_sem_seg = PixelData(data=label)
    return {key: value for key, value in branch.items() if key != 'labels'}


def swaps_channels(preprocessor: nn.Module) -> bool:
    """Whether a preprocessor exchanges blue and red; mmengine and onedl-mmsegmentation have a private attribute."""
    return any(getattr(preprocessor, name, False) for name in ('channel_conversion', '_channel_conversion'))


class BranchPreprocessor(nn.Module):
    """{'source': batch, 'target': batch} -> {'inputs': {branch: images}, 'data_samples': {...}}.

    A plain batch (validation, testing) is what the segmentor's preprocessor makes of it.

    Args:
        preprocessor: the segmentor's, with its normalisation, channel order and crop size.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        self.preprocessor = preprocessor

    def forward(self, data: Config, training: bool = False) -> Config:
        if 'inputs' in data:
            plain: Config = self.preprocessor(data, training)
            return plain
        branches = {name: self._branch(return_labels(batch, self._device()), training) for name, batch in data.items()}
        return dict(
            inputs={name: batch['inputs'] for name, batch in branches.items()},
            data_samples={name: batch['data_samples'] for name, batch in branches.items()})

    def _device(self) -> torch.device:
        return getattr(self.preprocessor, 'device', torch.device('cpu'))

    def _branch(self, batch: Config, training: bool) -> Config:
        """The result of the segmentor's preprocessor, computed for all images at once if none needs padding."""
        images, samples = batch['inputs'], batch['data_samples']
        inner: Any = self.preprocessor
        if not (training and self._is_stackable(images, samples)):
            branch: Config = inner(batch, training)
            return branch
        images = images.to(self._device(), non_blocking=True)
        if swaps_channels(inner) and images.shape[1] == 3:
            images = images[:, [2, 1, 0]]
        images = images.float()
        if inner._enable_normalize:
            images = images.sub_(inner.mean).div_(inner.std)
        for sample in samples:
            shape = sample.gt_sem_seg.shape if 'gt_sem_seg' in sample else None
            sample.set_metainfo(dict(img_shape=images.shape[2:], pad_shape=shape, padding_size=(0, 0, 0, 0)))
        if images.device.type != 'cpu':  # labels that were stacked are there already
            samples = [sample.to(images.device) for sample in samples]
        return dict(inputs=images, data_samples=samples)

    def _is_stackable(self, images: Any, samples: list[Any]) -> bool:
        """Whether mmseg's own preprocessor would only normalise and stack the images."""
        inner: Any = self.preprocessor
        return (type(inner) is SegDataPreProcessor and inner.size is not None and not inner.batch_augments
                and isinstance(images, Tensor) and images.dtype == torch.uint8
                and all(side >= wanted for side, wanted in zip(images.shape[2:], inner.size))
                and all(set(sample.keys()) <= {'gt_sem_seg'} for sample in samples))

    @property
    def mean(self) -> list[float]:
        """Channel means, in the order of the network's input."""
        return self._constant('mean', 0.0)

    @property
    def std(self) -> list[float]:
        """Channel standard deviations."""
        return self._constant('std', 1.0)

    @property
    def channel_order(self) -> str:
        """'rgb' or 'bgr': the order of the network's input, for images loaded as BGR (mmcv's default)."""
        return 'rgb' if swaps_channels(self.preprocessor) else 'bgr'

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) to which training images are padded, or None."""
        size = getattr(self.preprocessor, 'size', None)
        return tuple(size) if size else None

    def _constant(self, name: str, default: float) -> list[float]:
        value = getattr(self.preprocessor, name, None)
        return [default] * 3 if value is None else value.flatten().tolist()
