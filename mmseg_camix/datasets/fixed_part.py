"""The part of a pipeline that does the same every time, loading and resizing, apart from what draws."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import Dataset

from ..type_names import type_name

# Transforms that draw nothing. `Resize` is mmcv's and mmseg's, to one size; RandomResize is another.
FIXED = ('Cached', 'LoadImage', 'LoadIdLabels', 'LoadImageFromFile', 'LoadAnnotations', 'Resize',
         'EvaluateAtResizedShape')


def length_of_fixed_part(pipeline: Sequence[dict | Callable]) -> int:
    """With how many transforms that draw nothing a pipeline begins."""
    fixed = [type_name(transform) in FIXED for transform in pipeline]
    return (fixed + [False]).index(False)


def run(transforms: Sequence[Callable], results: dict) -> dict | None:
    """One after the other, as mmengine's Compose; None as soon as one returns None."""
    for transform in transforms:
        results = transform(results)
        if results is None:
            break
    return results


def again_and_again(dataset: Dataset, index: int) -> Iterator[dict]:
    """What `dataset[index]` gives each time, but the image is loaded and resized only once.

    Readers of other projects, which may drop samples, are asked each time.
    """
    refuse_none = getattr(dataset, 'refuse_none', None)
    if refuse_none is None:
        while True:
            yield dataset[index]
    transforms = dataset.pipeline.transforms
    fixed = length_of_fixed_part(transforms)
    loaded = run(transforms[:fixed], dataset.get_data_info(index))
    while True:
        # A copy, because some transforms change what they are given.
        yield refuse_none(run(transforms[fixed:], copy.deepcopy(loaded)), index)


def use_cache(pipeline: Sequence[dict | Callable], root: str, folder: str) -> list[dict | Callable]:
    """The same pipeline, whose first part comes from the cache.

    Args:
        pipeline: configs of transforms.
        root: the data root.
        folder: of all caches, below `root` unless absolute.
    """
    fixed = length_of_fixed_part(pipeline)
    first, rest = list(pipeline[:fixed]), list(pipeline[fixed:])
    if not fixed or not all(isinstance(transform, dict) for transform in first):
        names = [type_name(transform) for transform in pipeline]
        raise ValueError(f'cache={folder!r}: the pipeline {names} does not begin with configs of transforms that load '
                         'and resize, which the cache replaces')
    lazy = bool(rest) and type_name(rest[0]) in ('RandomCrop', 'RecordedRandomCrop', 'CropWithClass')
    cached = dict(type='Cached', transforms=copy.deepcopy(first), root=root, folder=os.fspath(folder), lazy=lazy)
    return [cached, *rest]
