"""The config of a plain segmentor, in mmseg's own terms where they suffice."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import mmseg.registry
from mmengine.registry import Registry

from mmseg_camix.type_names import type_name

from . import ExportError

# Needed only in training: initial weights, and which pixels count.
_FOR_TRAINING = ('init_cfg', 'pretrained', 'sampler')
# On one device they are the same, and their weights have the same names.
SYNCHRONISED = ('SyncBN', 'MMSyncBN', 'NaiveSyncBatchNorm')
SCOPE = ('_scope_', 'mmseg')  # everything is built in this scope anyway
STOCK_PACKAGES = ('mmseg', 'mmcv', 'mmengine', 'torch')
_CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)


def plain_segmentor(cfg: Mapping) -> dict:
    """The segmentor in the config of a training, adapted or not, unchanged; with its preprocessor."""
    model = cfg.get('model')
    if not isinstance(model, Mapping) or 'type' not in model:
        raise ExportError('the config has no model')
    segmentor = copy.deepcopy(as_dict(model.get('segmentor', model)))
    if segmentor.get('data_preprocessor') is None:
        given = model.get('data_preprocessor') or cfg.get('data_preprocessor')
        segmentor['data_preprocessor'] = copy.deepcopy(as_dict(given)) if given else dict(type='SegDataPreProcessor')
    return segmentor


def for_inference(segmentor: Mapping) -> dict:
    """A segmentor's config without what only training needs. Its logits stay the same, bit for bit.

    Left out are auxiliary heads, initial weights, samplers and augmentation of batches. SyncBN becomes
    BN. Losses that are not mmseg's, or that read a file, become a cross-entropy.
    """
    config = _cleaned(segmentor)
    config.pop('auxiliary_head', None)
    config['train_cfg'] = dict()
    config['data_preprocessor'].pop('batch_augments', None)
    heads = config['decode_head']
    for head in heads if isinstance(heads, (list, tuple)) else [heads]:
        losses = head.get('loss_decode')
        if isinstance(losses, (list, tuple)):
            head['loss_decode'] = [_stock_loss(loss) for loss in losses]
        elif losses is not None:
            head['loss_decode'] = _stock_loss(losses)
    return config


def in_stock_terms(node: Any) -> Any:
    """The same config with our classes replaced by mmseg's, where these can do the same.

    Such a class has a static method ``as_stock(**arguments)`` that returns mmseg's config.
    """
    if isinstance(node, Mapping):
        config = {key: in_stock_terms(value) for key, value in node.items()}
        if config.get('type') is not None and hasattr(cls := registered(config['type']), 'as_stock'):
            return cls.as_stock(**{key: value for key, value in config.items() if key != 'type'})
        return config
    if isinstance(node, (list, tuple)):
        return type(node)(in_stock_terms(item) for item in node)
    return node


def foreign_modules(config: Any) -> dict[str, str]:
    """Class -> module, for all classes in a config that are not of OpenMMLab."""
    modules = {}
    for kind in types_in(config):
        module = registered(kind).__module__
        if module.split('.')[0] not in STOCK_PACKAGES:
            modules[type_name(kind)] = module
    return modules


def types_in(node: Any) -> Iterator[str | type]:
    """Every ``type`` in a config."""
    if isinstance(node, Mapping):
        if node.get('type') is not None:
            yield node['type']
        node = list(node.values())
    for item in node if isinstance(node, (list, tuple)) else ():
        yield from types_in(item)


def registered(kind: str | type) -> Any:
    """The class of this name in mmseg's registries and those that they build on.

    Unlike mmengine's look-up it imports nothing: there a name such as 'subprocess.Popen' would do.
    """
    if not isinstance(kind, str):
        return kind
    for registry in _registries():
        scope, _, name = kind.rpartition('.')
        if name in registry.module_dict and scope in ('', registry.scope):
            return registry.module_dict[name]
    raise ExportError(f"type '{kind}' is not registered; is its package imported? A config file imports it with "
                      f"custom_imports=dict(imports=['its_package']); give that file with --config")


def _registries() -> list[Registry]:
    own = [value for value in vars(mmseg.registry).values() if isinstance(value, Registry)]
    return own + [registry.parent for registry in own if registry.parent is not None]


def _cleaned(node: Any) -> Any:
    if isinstance(node, Mapping):
        config = {key: _cleaned(value) for key, value in node.items() if key not in _FOR_TRAINING}
        if config.get('type') is not None and _downloads_by_default(config['type']):
            config['pretrained'] = False
        if config.get('type') in SYNCHRONISED:
            config['type'] = 'BN'
        return config
    if isinstance(node, (list, tuple)):
        return type(node)(_cleaned(item) for item in node)
    return node


def _downloads_by_default(kind: str | type) -> bool:
    """Whether a class downloads weights by default, as mmseg's TIMMBackbone does."""
    try:
        parameters = inspect.signature(registered(kind)).parameters
    except (ExportError, ValueError):  # unknown here, or without a signature
        return False
    return 'pretrained' in parameters and parameters['pretrained'].default is True


def _stock_loss(loss: Mapping) -> dict:
    if foreign_modules(loss) or isinstance(loss.get('class_weight'), str):
        return dict(_CROSS_ENTROPY)
    return dict(loss)


def without_scope(node: Any) -> Any:
    """A config without the scope of mmseg, which mmengine adds to what comes from a `_base_` named `mmseg::...`."""
    if isinstance(node, Mapping):
        return {key: without_scope(value) for key, value in node.items() if (key, value) != SCOPE}
    return type(node)(map(without_scope, node)) if isinstance(node, (list, tuple)) else node


def as_dict(config: Mapping) -> dict:
    """The config as plain dicts."""
    return config.to_dict() if hasattr(config, 'to_dict') else dict(config)
