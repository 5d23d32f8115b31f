"""The datasets of a config that read a family: their pipelines say what prior and cache are made for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS

from ..datasets.base import RawSegDataset
from ..datasets.defects import DEFECTS_FILE
from ..datasets.fixed_part import length_of_fixed_part
from ..engine.config import load_config
from ..type_names import type_name
from .layouts import Layout


def configs_of(config: str, layout: Layout) -> list[dict]:
    """The configs of the datasets that read this family, in the training of a config."""
    nodes = [node for _, node in dataset_configs(load_config(config).train_dataloader.dataset)]
    mine = [node for node in nodes if reader_of(node) is layout.reader]
    if not mine:
        names = sorted({type_name(node) for node in nodes})
        raise ValueError(f'{config}: no dataset of its training is a {layout.reader.__name__} (there are: '
                         f'{", ".join(names)}); give --config one that trains on {layout.family}')
    return mine


def build_reader(node: dict, root: Path, out: Path) -> tuple[RawSegDataset, list[dict]]:
    """A dataset, reading `root` without the defects that were found, and the part of its pipeline that is cached."""
    pipeline = [dict(transform) for transform in node['pipeline']]
    options = dict(node, data_root=str(root), skip=str(out / DEFECTS_FILE), cache='')
    return DATASETS.build(options), pipeline[:length_of_fixed_part(pipeline)]


def dataset_configs(value: Any, place: str = '') -> Iterator[tuple[str, dict]]:
    """All configs of datasets within a config of one, each with the keys that lead to it: 'source.dataset'."""
    if isinstance(value, dict):
        if 'type' in value:
            yield place, value
        for key, part in value.items():
            if key != 'pipeline':
                yield from dataset_configs(part, f'{place}.{key}' if place else key)
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from dataset_configs(part, f'{place}.{index}' if place else str(index))


def reader_of(node: dict) -> type | None:
    """The class of a dataset, None if no such is registered."""
    kind = node['type']
    return DATASETS.get(kind) if isinstance(kind, str) else kind
