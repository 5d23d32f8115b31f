"""The first part of a pipeline, loading and resizing, which gives the same result every time."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Dataset

from ..type_names import type_name
from .joined import plain_sample

# Transforms without randomness. `Resize` is mmcv's and mmseg's, to one size; RandomResize is another.
FIXED = ('Cached', 'LoadImage', 'LoadIdLabels', 'LoadImageFromFile', 'LoadAnnotations', 'Resize',
         'EvaluateAtResizedShape')
CROPS = ('RandomCrop', 'RecordedRandomCrop', 'CropWithClass')


def length_of_fixed_part(pipeline: Sequence[dict | Callable]) -> int:
    """Number of transforms without randomness with which a pipeline begins."""
    fixed = [type_name(transform) in FIXED for transform in pipeline]
    return (fixed + [False]).index(False)


def run_transforms(transforms: Sequence[Callable], results: dict) -> dict | None:
    """Apply transforms in order, as mmengine's Compose; None as soon as one returns None."""
    for transform in transforms:
        results = transform(results)
        if results is None:
            break
    return results


def repeat_sample(dataset: Dataset, index: int) -> Iterator[dict]:
    """Yield `dataset[index]` repeatedly, but load and resize the image only once.

    Readers of other projects, which may drop samples, are indexed each time.
    """
    dataset, index = plain_sample(dataset, index)
    refuse_none = getattr(dataset, 'refuse_none', None)
    if refuse_none is None:
        while True:
            yield dataset[index]
    transforms = dataset.pipeline.transforms
    fixed = length_of_fixed_part(transforms)
    loaded = run_transforms(transforms[:fixed], dataset.get_data_info(index))
    while True:
        # A copy, because some transforms change their input.
        yield refuse_none(run_transforms(transforms[fixed:], copy.deepcopy(loaded)), index)


def use_cache(pipeline: Sequence[dict | Callable], root: str, folder: str) -> list[dict | Callable]:
    """Return the pipeline with `Cached` in place of its fixed part; `folder`, of all caches, is below the data root."""
    length = length_of_fixed_part(pipeline)
    fixed, rest = list(pipeline[:length]), list(pipeline[length:])
    if not fixed or not all(isinstance(transform, dict) for transform in fixed):
        names = [type_name(transform) for transform in pipeline]
        raise ValueError(f'cache={folder!r}: the pipeline {names} does not begin with configs of transforms that load '
                         'and resize, which the cache replaces')
    lazy = bool(rest) and type_name(rest[0]) in CROPS
    return [dict(type='Cached', transforms=copy.deepcopy(fixed), root=root, folder=os.fspath(folder), lazy=lazy), *rest]
