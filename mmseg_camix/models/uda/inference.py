"""mmseg's own ways to predict on a file: ``init_model`` with ``inference_model``, and ``MMSegInferencer``."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmseg_camix.datasets.transforms.inference import inference_pipeline


class InferenceConfig:
    """Mixin for a model whose config's test pipeline may hold transforms of ours.

    mmseg gives a model its config, as ``model.cfg``, when it prepares it for images of no data set.
    Then, in place, as mmseg itself does: transforms that need labels are taken out of the test pipelines,
    and loading goes by the names that mmseg looks for.
    """

    _cfg: Config | None = None

    @property
    def cfg(self) -> Any:
        """The config that mmseg's inference has given."""
        if self._cfg is None:
            raise AttributeError(f'{type(self).__name__} was given no cfg')
        return self._cfg

    @cfg.setter
    def cfg(self, cfg: Any) -> None:
        self._cfg = cfg
        dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        if dataset.get('pipeline'):
            dataset.pipeline = inference_pipeline(dataset.pipeline)
        if cfg.get('test_pipeline') or dataset.get('pipeline'):
            cfg.test_pipeline = inference_pipeline(cfg.get('test_pipeline') or dataset.pipeline)
