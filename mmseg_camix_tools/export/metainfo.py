"""Names and colours of the classes, and what else is known about a training, from wherever it stored them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mmseg.registry import DATASETS

from mmseg_camix.datasets.folders import class_colours
from mmseg_camix.files import printable
from mmseg_camix.type_names import type_name

LONGEST_NAME = 200  # characters of a class, which pictures and tables show


def dataset_meta(meta: Mapping, cfg: Mapping, num_classes: int) -> dict[str, Any]:
    """``classes`` (tuple of names) and ``palette`` (list of [r, g, b]), one for each output of a network.

    The checkpoint's meta comes first, then the config's data set. Where neither names as many
    classes as the network has, they are numbered; where colours are missing, they are made.
    """
    for candidate in _candidates(meta, cfg):
        names, palette = candidate.get('classes'), candidate.get('palette')
        if isinstance(names, (list, tuple, Mapping)) and len(names) == num_classes:
            break
    else:
        names, palette = [f'class {i}' for i in range(num_classes)], None
    # FolderDataset's classes may be (name, numbers in the label files).
    names = tuple(printable(name[0] if isinstance(name, (list, tuple)) and name else name)[:LONGEST_NAME]
                  for name in names)
    palette = [_colour(colour) for colour in palette[:num_classes]] if isinstance(palette, (list, tuple)) else []
    if len(palette) < num_classes or None in palette:
        palette = class_colours(names)
    return dict(classes=names, palette=[list(colour) for colour in palette])


def training_facts(meta: Mapping, cfg: Mapping) -> dict[str, Any]:
    """What a checkpoint records about its training.

    ``config`` and ``seed``; ``data``, role -> data set, without those that the method loads and does not train on;
    ``crop``, [height, width].
    """
    facts = dict(config=re.sub(r'_\d{8}_\d{6}$', '', str(meta.get('experiment_name', ''))), seed=meta.get('seed'))
    trained = mapping(mapping(cfg.get('train_dataloader')).get('dataset'))
    validated = mapping(mapping(cfg.get('val_dataloader')).get('dataset'))
    roles = trained if 'source' in trained or 'target' in trained else dict(training=trained)
    if method_of(cfg) == 'SourceOnly':
        roles = {role: dataset for role, dataset in roles.items() if role != 'target'}
    roles = {**roles, 'validation': validated}
    data = {str(role): _described(dataset) for role, dataset in roles.items()
            if isinstance(dataset, Mapping) and isinstance(dataset.get('type'), (str, type))}
    facts |= dict(data=data, crop=_crop(cfg))
    return {name: value for name, value in facts.items() if value not in (None, '', {})}


def method_of(config: Mapping) -> str | None:
    """The method around the segmentor of a config; None for a plain one."""
    model = mapping(config.get('model'))
    kind = model.get('type')
    return printable(type_name(kind)) if 'segmentor' in model and isinstance(kind, (str, type)) else None


def _crop(cfg: Mapping) -> list[int] | None:
    """[height, width] to which a training pads its crops; None where the config does not state it."""
    model = mapping(cfg.get('model'))
    for part in (mapping(model.get('segmentor')), model, cfg):
        size = mapping(part.get('data_preprocessor')).get('size')
        if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size):
            return list(size)
    return None


def _described(dataset: Mapping) -> str:
    """A data set in one line: its reader, its folder without those above it, and which part it is."""
    while isinstance(inner := dataset.get('dataset'), Mapping) and isinstance(inner.get('type'), (str, type)):
        dataset = inner
    folder = PurePath(str(dataset.get('data_root') or '')).name
    part = [f'{name} {dataset[name]}' for name in ('conditions', 'split') if dataset.get(name)]
    return ', '.join([type_name(dataset), *([folder] if folder else []), *part])


def _colour(values: Any) -> list[int] | None:
    """[r, g, b], or None if it is no colour."""
    colour = list(values) if isinstance(values, (list, tuple)) else []
    if len(colour) != 3 or not all(isinstance(value, (int, float)) and 0 <= value <= 255 for value in colour):
        return None
    return [int(value) for value in colour]


def mapping(value: Any) -> Mapping:
    """The value if it is a mapping, else an empty one: checkpoints may have anything anywhere."""
    return value if isinstance(value, Mapping) else {}


def _candidates(meta: Mapping, cfg: Mapping) -> Iterator[Mapping]:
    yield mapping(meta.get('dataset_meta'))
    yield dict(classes=meta.get('CLASSES'), palette=meta.get('PALETTE'))  # of mmseg 0.x
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = mapping(cfg.get(loader)).get('dataset')
        while isinstance(dataset, Mapping):
            yield mapping(dataset.get('metainfo'))
            yield dataset  # of a FolderDataset, which has them as arguments
            cls = DATASETS.module_dict.get(str(dataset.get('type')))
            yield getattr(cls, 'METAINFO', {})
            dataset = dataset.get('dataset') or dataset.get('source') or dataset.get('target')
