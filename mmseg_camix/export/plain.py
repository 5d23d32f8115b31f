"""One network of a training, as the plain segmentor that it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.checkpoint.config_text import checkpoint_config
from mmseg_camix.models import adapter
from mmseg_camix.models.uda.inference import inference_pipeline
from mmseg_camix.models.uda.loading import OWN_PARTS
from mmseg_camix.type_names import type_name
from mmseg_camix.weights import fit, unwrap_weights

from .errors import ExportError
from .metainfo import dataset_meta
from .segmentor import for_inference, plain_segmentor, registered, types_in

PREFIXES = {'teacher': 'teacher.model.', 'student': 'student.'}
CHOICES = ('teacher', 'student', 'tested')
_PLAIN_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


@dataclass(frozen=True)
class PlainNetwork:
    """A network without the method that trained it."""

    segmentor: dict
    """Config of the segmentor, for inference."""
    state: dict[str, Tensor]
    """Its weights."""
    pipeline: list[dict]
    """From an image file to the network's input."""
    classes: tuple[str, ...]
    palette: list[list[int]]
    """[r, g, b] of each class."""
    name: str
    """'teacher', 'student', or 'segmentor' where the checkpoint has only one network."""
    origin: dict[str, Any]
    """Where it comes from: method, iteration, which network the method is tested with."""

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) that it was trained on."""
        size = self.segmentor['data_preprocessor'].get('size')
        return tuple(size) if size else (adapter.PROBE_SIZE, adapter.PROBE_SIZE)

    def build(self) -> nn.Module:
        """The segmentor with its weights, on the CPU, in evaluation mode."""
        return built(self.segmentor, self.state)


def built(segmentor: Mapping, state: Mapping[str, Tensor]) -> nn.Module:
    """A segmentor of this config with these weights, all of them; in evaluation mode."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(segmentor))
    fit(model, dict(state))
    return model.eval()


def plain_network(checkpoint: Mapping, cfg: Config | None = None, choice: str = 'teacher',
                  source: str = 'the checkpoint') -> PlainNetwork:
    """Take one network out of a checkpoint. The method around it is not built: what it reads may be gone.

    Args:
        checkpoint: as it was read; of an adapted model or of a plain one.
        cfg: of its training; None takes the one that the checkpoint carries.
        choice: 'teacher' (the student, where there is none), 'student', or 'tested', the one that the
            method is tested with. A plain checkpoint has only one network.
        source: what errors call the checkpoint.
    """
    if cfg is None:
        cfg = checkpoint_config(checkpoint, source)
        _refuse_imports(cfg, source)
    config = cfg.to_dict()
    segmentor, pipeline = for_inference(plain_segmentor(config)), _pipeline(config)
    for kind in types_in([segmentor, pipeline]):
        registered(kind)
    meta = checkpoint.get('meta') or {}
    tested = _tested(config['model'])
    name, state = _state(unwrap_weights(checkpoint, source), tested if choice == 'tested' else choice, source)
    model = built(segmentor, state)
    described = dataset_meta(meta, config, adapter.main_head(model).num_classes)
    origin = dict(method=None if tested is None else type_name(config['model']), tested=tested,
                  iteration=meta.get('iter'), checkpoint=Path(source).name)
    return PlainNetwork(segmentor, model.state_dict(), pipeline, described['classes'], described['palette'], name,
                        origin)


def _state(weights: dict[str, Tensor], name: str, source: str) -> tuple[str, dict[str, Tensor]]:
    """The network's own name and its weights, without those of auxiliary heads."""
    if not any(key.startswith(OWN_PARTS) for key in weights):
        name, prefix = 'segmentor', ''
    else:
        if name == 'teacher' and not any(key.startswith(PREFIXES['teacher']) for key in weights):
            name = 'student'
        prefix = PREFIXES[name]
    state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if not state:
        raise ExportError(f'{source} holds no weights of a {name}')
    return name, {key: value for key, value in state.items() if not key.startswith('auxiliary_head.')}


def _tested(model: Mapping) -> str | None:
    """The network that a method is tested with; None for a plain segmentor."""
    if 'segmentor' not in model:
        return None
    defaults = getattr(registered(model['type']), 'defaults', {})
    return model.get('predict_with') or defaults.get('predict_with', 'student')


def _pipeline(config: Mapping) -> list[dict]:
    """The test pipeline, as the data set has it, for images without labels."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while not dataset.get('pipeline') and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return inference_pipeline(dataset.get('pipeline') or config.get('test_pipeline') or _PLAIN_PIPELINE)


def _refuse_imports(cfg: Config, source: str) -> None:
    """Nothing is imported because a checkpoint says so."""
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    others = [name for name in ([imports] if isinstance(imports, str) else imports) if name != 'mmseg_camix']
    if others:
        raise ExportError(f'the config in {source} imports {", ".join(map(str, others))}, and nothing is imported '
                          'because a checkpoint says so; give the config as a file, with --config')
