"""Support for mmseg's own inference: ``init_model`` with ``inference_model``, and ``MMSegInferencer``."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmseg_camix.type_names import loads_label, type_name

# Transforms of this package -> mmseg's, which do the same to a valid image without labels.
STOCK = {'LoadImage': 'LoadImageFromFile', 'PackUDAInputs': 'PackSegInputs'}
# Transforms that need the label's size.
FOR_LABELS = ('EvaluateAtResizedShape',)
# Transforms that stand for the transforms inside them.
WRAPPERS = ('AugmentedViews', 'Cached')


def inference_pipeline(pipeline: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A test pipeline for images without labels, in mmseg's own transforms where it has them.

    mmseg's ``inference_model`` and ``MMSegInferencer`` search the pipeline for `LoadAnnotations`, to remove it, and for
    `LoadImageFromFile`. A new transform that test pipelines may hold needs an entry in the tables above.

    Args:
        pipeline: configs of transforms; not changed.

    Returns:
        The configs without those that load labels. Predictions have the size of the image as it was loaded.
    """
    kept: list[dict[str, Any]] = []
    for transform in pipeline:
        name = type_name(transform)
        if name in WRAPPERS:
            kept.extend(inference_pipeline(transform['transforms']))
        elif name not in FOR_LABELS and not loads_label(transform):
            kept.append({**transform, 'type': STOCK.get(name, transform['type'])})
    return kept


class InferenceConfig:
    """Mixin for models whose config may use this package's transforms in its test pipeline.

    mmseg sets ``model.cfg`` when it prepares a model for images that belong to no data set. The setter then rewrites
    the config's test pipelines in place, as mmseg itself does.
    """

    _cfg: Config | None = None

    @property
    def cfg(self) -> Any:
        """The config set by mmseg's inference."""
        if self._cfg is None:
            raise AttributeError(f'{type(self).__name__} has no cfg; mmseg sets it for inference')
        return self._cfg

    @cfg.setter
    def cfg(self, cfg: Any) -> None:
        self._cfg = cfg
        dataset: Any = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        if dataset.get('pipeline'):
            dataset.pipeline = inference_pipeline(dataset.pipeline)
        if cfg.get('test_pipeline') or dataset.get('pipeline'):
            cfg.test_pipeline = inference_pipeline(cfg.get('test_pipeline') or dataset.pipeline)
