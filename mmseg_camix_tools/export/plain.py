"""One network of a training, as the plain segmentor that it is."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.config_text import checkpoint_config
from mmseg_camix.models import adapter
from mmseg_camix.models.uda.inference import inference_pipeline
from mmseg_camix.models.uda.loading import OWN_PARTS
from mmseg_camix.weights import WeightsError, fit, unwrap_weights

from . import ExportError
from .embedded import AllocationLimit, accept_network, accept_pipeline
from .metainfo import dataset_meta, mapping, method_of, training_facts
from .segmentor import as_dict, for_inference, plain_segmentor, registered, types_in, without_scope

PREFIXES = {'teacher': 'teacher.model.', 'student': 'student.'}
# What code that expects a config raises where a checkpoint has something else in its place.
_NOT_A_SEGMENTOR = (AssertionError, AttributeError, IndexError, KeyError, OverflowError, RecursionError, RuntimeError,
                    TypeError, ValueError, ZeroDivisionError)
_SMALL = 2**27  # bytes
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
    training: dict[str, Any] = field(default_factory=dict)
    """What the checkpoint records about its training, for the model card."""

    @property
    def crop(self) -> tuple[int, int]:
        """(height, width) that the config expects in training, for comparisons of logits."""
        size = self.segmentor['data_preprocessor'].get('size')
        return tuple(size) if size else (adapter.PROBE_SIZE, adapter.PROBE_SIZE)

    @property
    def description(self) -> str:
        """Which network of which training this is, in one line."""
        method, iteration, tested = (self.origin[key] for key in ('method', 'iteration', 'tested'))
        line = f'{self.name} of {method}' if method else 'plain segmentor'
        if iteration is not None:
            line += f', iteration {iteration}'
        if tested not in (None, self.name):
            line += f' (the method is tested with its {tested}: --tested selects that)'
        return line

    def build(self) -> nn.Module:
        """The segmentor with its weights, on the CPU, in evaluation mode."""
        return built(self.segmentor, self.state)


def built(segmentor: Mapping, state: Mapping[str, Tensor], source: str = 'the checkpoint') -> nn.Module:
    """A segmentor of this config with these weights, all of them; in evaluation mode."""
    # Layers make temporary copies of weights while they are built, of up to 2.8 times their size in mmseg's networks.
    limit = 4 * sum(value.numel() * value.element_size() for value in state.values()) + _SMALL
    with DefaultScope.overwrite_default_scope('mmseg'), AllocationLimit(limit), warnings.catch_warnings():
        # mmseg warns of a default that matters only in training.
        warnings.filterwarnings('ignore', message='Default ``avg_non_ignore``')
        model = MODELS.build(ConfigDict(segmentor))
    fit(model, dict(state), source=source)
    return model.eval()


def plain_network(checkpoint: Mapping, cfg: Mapping | None = None, choice: str = 'teacher',
                  source: str = 'the checkpoint', trained_with_config: bool = True) -> PlainNetwork:
    """Take one network out of a checkpoint. The method around it is not built: files that it names may be gone.

    Args:
        checkpoint: as it was read; of an adapted model or of a plain one.
        cfg: of its training, as the user gave it; None takes the one inside the checkpoint, of which only known
            classes and arguments are accepted (:mod:`.embedded`).
        choice: 'teacher' (the student, where there is none), 'student', or 'tested', the one that the
            method is tested with. A plain checkpoint has only one network.
        source: what errors call the checkpoint.
        trained_with_config: whether `cfg` is that of the training; otherwise nothing is taken from it that describes
            the training.
    """
    weights = unwrap_weights(checkpoint, source)
    config = without_scope(checkpoint_config(checkpoint, source) if cfg is None else as_dict(cfg))
    recorded = config if cfg is None else _recorded_config(checkpoint)
    described_by = config if trained_with_config else recorded
    try:
        segmentor, pipeline = for_inference(plain_segmentor(config)), _pipeline(config)
        if cfg is None:
            _refuse_imports(config)
            segmentor, pipeline = accept_network(segmentor), accept_pipeline(pipeline)
        for kind in types_in([segmentor, pipeline]):
            registered(kind)
        tested = _tested(config['model'])
        name, state = _state(weights, tested if choice == 'tested' else choice)
        model = built(segmentor, state, source)
        meta = mapping(checkpoint.get('meta'))
        described = dataset_meta(meta, config, adapter.main_head(model).num_classes)
        training = training_facts(meta, recorded or described_by)
    except ExportError as error:
        raise ExportError(f'{source}: {error}') from error
    except WeightsError:
        raise
    except _NOT_A_SEGMENTOR as error:
        if cfg is not None:
            raise
        raise ExportError(f'{source}: its config does not describe a segmentor ({type(error).__name__}: {error}). '
                          'Give the config as a file, with --config') from error
    iteration = meta.get('iter')
    origin = dict(method=method_of(described_by), tested=tested if trained_with_config else None,
                  iteration=iteration if isinstance(iteration, int) else None, checkpoint=Path(source).name)
    return PlainNetwork(segmentor, model.state_dict(), pipeline, described['classes'], described['palette'], name,
                        origin, training)


def _recorded_config(checkpoint: Mapping) -> Mapping:
    """The config inside a checkpoint; an empty one where there is none that can be read as data."""
    try:
        return checkpoint_config(checkpoint)
    except CheckpointError:
        return {}


def _refuse_imports(config: Mapping) -> None:
    imports = mapping(config.get('custom_imports')).get('imports') or []
    others = [name for name in ([imports] if isinstance(imports, str) else imports) if name != 'mmseg_camix']
    if others:
        raise ExportError(f'its config imports {", ".join(map(str, others))}; nothing that only a checkpoint '
                          'names is imported. If you trust it, give the config as a file, with --config')


def _state(weights: dict[str, Tensor], name: str) -> tuple[str, dict[str, Tensor]]:
    """The network's own name and its weights, without those of auxiliary heads."""
    if not any(key.startswith(OWN_PARTS) for key in weights):
        name, prefix = 'segmentor', ''
    else:
        if name == 'teacher' and not any(key.startswith(PREFIXES['teacher']) for key in weights):
            name = 'student'
        prefix = PREFIXES[name]
    state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if not state:
        raise ExportError(f'it contains no weights of a {name}')
    return name, {key: value for key, value in state.items() if not key.startswith('auxiliary_head.')}


def _tested(model: Mapping) -> str | None:
    """The network that a method is tested with; None for a plain segmentor."""
    if 'segmentor' not in model:
        return None
    defaults = getattr(registered(model['type']), 'defaults', {})
    tested = model.get('predict_with') or defaults.get('predict_with', 'student')
    if tested not in PREFIXES:
        raise ExportError(f'predict_with={tested!r} is not one of {", ".join(PREFIXES)}')
    return tested


def _pipeline(config: Mapping) -> list[dict]:
    """The test pipeline, as the data set has it, for images without labels."""
    dataset = mapping(mapping(config.get('test_dataloader')).get('dataset'))
    while not dataset.get('pipeline') and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return inference_pipeline(dataset.get('pipeline') or config.get('test_pipeline') or _PLAIN_PIPELINE)
