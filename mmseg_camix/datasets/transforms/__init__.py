"""Transforms for mmseg's pipelines: loading with clear errors, and the record of a crop's place."""

from .augmented_views import AugmentedViews
from .geometry import CropWithClass, EvaluateAtResizedShape, RecordedRandomCrop
from .loading import LoadIdLabels, LoadImage, PackUDAInputs

__all__ = ['AugmentedViews', 'CropWithClass', 'EvaluateAtResizedShape', 'LoadIdLabels', 'LoadImage', 'PackUDAInputs',
           'RecordedRandomCrop']
