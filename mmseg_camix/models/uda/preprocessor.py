"""The segmentor's own data preprocessor, applied to every branch of a batch."""

from __future__ import annotations

from torch import nn


def with_preprocessor(segmentor: dict, data_preprocessor: dict | None) -> dict:
    """The segmentor's config with this preprocessor, where it has none of its own."""
    if data_preprocessor is None or segmentor.get('data_preprocessor') is not None:
        return segmentor
    return {**segmentor, 'data_preprocessor': data_preprocessor}


class BranchPreprocessor(nn.Module):
    """{'source': batch, 'target': batch} -> {'inputs': {branch: images}, 'data_samples': {...}}.

    A plain batch (validation, testing) passes through the segmentor's preprocessor as it is.

    Args:
        preprocessor: the segmentor's, with its normalisation, channel order and crop size.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        self.preprocessor = preprocessor

    def forward(self, data: dict, training: bool = False) -> dict:
        if 'inputs' in data:
            return self.preprocessor(data, training)
        branches = {name: self.preprocessor(batch, training) for name, batch in data.items()}
        return dict(
            inputs={name: batch['inputs'] for name, batch in branches.items()},
            data_samples={name: batch['data_samples'] for name, batch in branches.items()})

    @property
    def mean(self) -> list[float]:
        """Channel means that are subtracted, in the order of the network's input."""
        return self._constant('mean', 0.0)

    @property
    def std(self) -> list[float]:
        """Channel deviations that are divided by."""
        return self._constant('std', 1.0)

    @property
    def channel_order(self) -> str:
        """'rgb' or 'bgr': what the network sees, for images loaded as BGR (mmcv's default)."""
        return 'rgb' if getattr(self.preprocessor, 'channel_conversion', False) else 'bgr'

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) that training images are padded to, or None."""
        size = getattr(self.preprocessor, 'size', None)
        return tuple(size) if size else None

    def _constant(self, name: str, default: float) -> list[float]:
        value = getattr(self.preprocessor, name, None)
        return [default] * 3 if value is None else value.flatten().tolist()
