"""The datasets of a config that read a family: their pipelines say what prior and cache are made for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS

from ...engine.config import load_config
from ...type_names import type_name
from ..base import RawSegDataset
from ..defects import DEFECTS_FILE
from ..fixed_part import length_of_fixed_part
from .layouts import Layout


def configs_of(config: str, layout: Layout) -> list[dict]:
    """The configs of the datasets that read this family, in the training of a config."""
    nodes = list(_nodes(load_config(config).train_dataloader.dataset))
    mine = [node for node in nodes if _reader(node) is layout.reader]
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


def _nodes(value: Any) -> Iterator[dict]:
    """All configs of datasets within a config of one."""
    if isinstance(value, dict):
        if 'type' in value:
            yield value
        for key, part in value.items():
            if key != 'pipeline':
                yield from _nodes(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _nodes(part)


def _reader(node: dict) -> type | None:
    kind = node['type']
    return DATASETS.get(kind) if isinstance(kind, str) else kind
