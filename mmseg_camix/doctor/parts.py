"""Which data a config reads: its branches and its validation sets, each with its pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config, ConfigDict
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..type_names import loads_label, type_name
from .findings import Finding


@dataclass
class Part:
    """One set of images with its pipeline.

    Args:
        name: 'source', 'target', another branch, 'val' or 'test'.
        cfg: config of the plain dataset.
        wrappers: configs of the datasets around it, outermost first.
        dataset: the built dataset; None where it could not be built.
        findings: what went wrong so far.
    """

    name: str
    cfg: ConfigDict
    wrappers: list[ConfigDict] = field(default_factory=list)
    dataset: Dataset | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def pipeline(self) -> list[dict]:
        """Transforms as the config has them."""
        return list(self.cfg.get('pipeline') or [])

    @property
    def labelled(self) -> bool:
        """Whether the pipeline loads labels."""
        return any(loads_label(t) for t in self.pipeline)

    @property
    def evaluates(self) -> bool:
        """Whether it is measured on, and not trained on."""
        return self.name in ('val', 'test')

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the dataset's classes, if it has any."""
        found = (getattr(self.dataset, 'metainfo', None) or {}).get('classes')
        return None if found is None else tuple(found)

    def infos(self, samples: int) -> list[dict]:
        """Descriptions of samples spread evenly over the set; 0 for all."""
        size = len(self.dataset)
        chosen = range(size) if not samples or samples >= size else np.linspace(0, size - 1, samples).astype(int)
        return [self.dataset.get_data_info(int(index)) for index in chosen]


def parts_of(cfg: Config) -> list[Part]:
    """All parts that training and evaluation read, built where that is possible."""
    parts = [_built(Part(name, *_unwrapped(dataset))) for name, dataset in _datasets(cfg)]
    if not parts:
        raise SystemExit('the config has no train_dataloader and no val_dataloader; nothing to look at')
    return parts


def _datasets(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    train = (cfg.get('train_dataloader') or {}).get('dataset')
    if train is not None and 'source' in train:
        yield from ((name, value) for name, value in train.items() if isinstance(value, dict))
    elif train is not None:
        yield 'source', train
    seen = []
    for phase in ('val', 'test'):
        dataset = (cfg.get(f'{phase}_dataloader') or {}).get('dataset')
        if dataset is not None and dataset not in seen:
            seen.append(dataset)
            yield phase, dataset


def _unwrapped(dataset: ConfigDict) -> tuple[ConfigDict, list[ConfigDict]]:
    wrappers = []
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        wrappers.append(dataset)
        dataset = dataset['dataset']
    return dataset, wrappers


def _built(part: Part) -> Part:
    try:
        part.dataset = DATASETS.build(part.cfg)
        if hasattr(part.dataset, 'full_init'):
            part.dataset.full_init()
    except Exception as error:  # whatever a dataset of somebody's raises is a finding
        part.findings.append(Finding('error', part.name, f'the dataset cannot be built: {_said(error)}',
                                     f'correct the entry `{part.name}` of the config ({type_name(part.cfg)})'))
        part.dataset = None
        return part
    if len(part.dataset) == 0 or not hasattr(part.dataset, 'get_data_info'):
        part.findings.append(Finding(
            'error', part.name, f'{type_name(part.cfg)} gives no samples that can be looked at ({len(part.dataset)})',
            'check its data_root, folders and suffixes; datasets that join others are checked one by one'))
        part.dataset = None
    return part


def _said(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if 'need at least one array' in text:  # so mmengine fails when it serialises an empty list
        text = 'it finds no image; check data_root, folders and suffixes'
    return text if isinstance(error, (OSError, ValueError)) else f'{type(error).__name__}: {text}'
