"""How cached images were made: which transforms loaded and resized them, and which ids labels had."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import PIL
from mmseg.registry import TRANSFORMS

from ..datasets.encodings import get_encoding
from ..type_names import type_name

RECIPE_FILE = 'recipe.json'


@dataclass(frozen=True)
class Recipe:
    """Everything on which the pixels depend, apart from the files.

    Args:
        transforms: configs of the transforms that load and resize.
        labels: what the dataset says of its labels; empty if none are loaded.
    """

    transforms: tuple[dict, ...]
    labels: dict

    @classmethod
    def of(cls, transforms: Sequence[dict], info: Mapping[str, Any]) -> 'Recipe':
        """From the first part of a pipeline and the description of any sample of the dataset."""
        plain = tuple(_plain(dict(t, type=type_name(t))) for t in transforms)
        loads_labels = any(t['type'] in ('LoadIdLabels', 'LoadAnnotations') for t in plain)
        return cls(plain, _label_facts(info) if loads_labels else {})

    @property
    def text(self) -> str:
        """In JSON, the same for the same recipe."""
        return json.dumps(dict(transforms=self.transforms, labels=self.labels), sort_keys=True)

    @property
    def name(self) -> str:
        """Of the folder: the size, and a digest of all the rest."""
        sizes = ['{}x{}'.format(*t['scale']) for t in self.transforms if isinstance(t.get('scale'), list)]
        return f'{sizes[0] if sizes else "native"}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}'

    def summary(self) -> str:
        """For people."""
        steps = []
        for transform in self.transforms:
            options = ', '.join(f'{key}={value}' for key, value in transform.items() if key != 'type')
            steps.append(f'{transform["type"]}({options})')
        return ' -> '.join(steps) + (f' of {self.labels["ids"]} ids' if self.labels else '')

    def file(self) -> str:
        """What is written beside the images: the recipe, and with what it was carried out."""
        libraries = dict(opencv=cv2.__version__, pillow=PIL.__version__, numpy=np.__version__)
        return json.dumps(dict(summary=self.summary(), recipe=json.loads(self.text), libraries=libraries), indent=1)

    def build(self) -> list:
        """The transforms themselves."""
        return [TRANSFORMS.build(_tuples(transform)) for transform in self.transforms]


def _label_facts(info: Mapping[str, Any]) -> dict:
    encoding = get_encoding(info['label_ids']) if info.get('label_ids') is not None else None
    label_map = info.get('label_map')
    return dict(
        ids=encoding.name if encoding else 'as in the files',
        table=hashlib.sha256(encoding.table).hexdigest() if encoding else '',
        label_map=sorted(label_map.items()) if label_map else None,
        reduce_zero_label=bool(info.get('reduce_zero_label')))


def _tuples(value: Any) -> Any:
    """Sizes as mmcv wants them."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Without mmengine's own kinds of dict and list, whichever way the config was written."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
