"""Pipelines for images that belong to no data set, and so have no labels.

Whoever adds a transform that a test pipeline may hold adds here what becomes of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .augmented_views import loads_label, type_name

# Ours -> mmseg's, which does the same to a sound image without labels.
STOCK = {'LoadImage': 'LoadImageFromFile', 'PackUDAInputs': 'PackSegInputs'}
# Without labels there is no size at which to compare with them.
FOR_LABELS = ('EvaluateAtResizedShape',)
# These stand for the transforms that they hold.
AROUND_OTHERS = ('AugmentedViews', 'Cached')


def inference_pipeline(pipeline: Sequence[Mapping[str, Any]]) -> list[dict]:
    """A test pipeline without labels, in mmseg's own transforms where it has them.

    mmseg's ``inference_model`` and ``MMSegInferencer`` look for `LoadAnnotations`, to take it out, and
    for `LoadImageFromFile` by these very names.

    Args:
        pipeline: configs of transforms; not changed.

    Returns:
        list[dict]: the same without those that load labels, ours replaced by mmseg's. Predictions
        have the size of the image as it was loaded.
    """
    kept: list[dict] = []
    for transform in pipeline:
        kind = type_name(transform)
        if kind in AROUND_OTHERS:
            kept.extend(inference_pipeline(transform['transforms']))
        elif kind not in FOR_LABELS and not loads_label(transform):
            kept.append({**transform, 'type': STOCK.get(kind, transform['type'])})
    return kept
