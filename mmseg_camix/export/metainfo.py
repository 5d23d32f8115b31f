"""Names and colours of the classes, from wherever a training has left them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import DATASETS

from mmseg_camix.datasets.folders import class_colours


def dataset_meta(meta: Mapping, cfg: Mapping, num_classes: int) -> dict[str, Any]:
    """``classes`` (tuple of names) and ``palette`` (list of [r, g, b]), one for each output of a network.

    The checkpoint's meta comes first, then the config's data set. Where neither names as many
    classes as the network has, they are numbered; where colours are missing, they are made.
    """
    for found in _candidates(meta, cfg):
        names, palette = found.get('classes'), found.get('palette')
        if names is not None and len(names) == num_classes:
            break
    else:
        names, palette = [f'class {i}' for i in range(num_classes)], None
    names = tuple(str(name) for name in names)
    if palette is None or len(palette) < num_classes:
        palette = class_colours(names)
    return dict(classes=names, palette=[[int(value) for value in colour] for colour in palette[:num_classes]])


def _candidates(meta: Mapping, cfg: Mapping) -> Iterator[Mapping]:
    yield meta.get('dataset_meta') or {}
    yield dict(classes=meta.get('CLASSES'), palette=meta.get('PALETTE'))  # of mmseg 0.x
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset')
        while isinstance(dataset, Mapping):
            yield dataset.get('metainfo') or {}
            yield dataset  # of a FolderDataset, which has them as arguments
            cls = DATASETS.module_dict.get(dataset.get('type'))
            yield getattr(cls, 'METAINFO', {})
            dataset = dataset.get('dataset') or dataset.get('source')
