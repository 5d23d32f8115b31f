"""How cached images were loaded and resized, and which ids their labels had."""

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
from ..type_names import loads_label, type_name

RECIPE_FILE = 'recipe.json'


@dataclass(frozen=True)
class Recipe:
    """Everything on which the pixels depend, apart from the files."""

    transforms: tuple[dict, ...]  # configs of the transforms that load and resize
    labels: dict  # the encoding of the dataset's labels; empty if none are loaded

    @classmethod
    def of(cls, transforms: Sequence[dict], info: Mapping[str, Any]) -> 'Recipe':
        """From the fixed part of a pipeline and the description of any sample of the dataset."""
        plain = tuple(_plain(dict(t, type=type_name(t))) for t in transforms)
        loads_labels = any(map(loads_label, plain))
        return cls(plain, _label_facts(info) if loads_labels else {})

    @property
    def text(self) -> str:
        """Canonical JSON."""
        return json.dumps(dict(transforms=self.transforms, labels=self.labels), sort_keys=True)

    @property
    def name(self) -> str:
        """Name of the folder: the size, and a digest of the rest."""
        sizes = ['{}x{}'.format(*t['scale']) for t in self.transforms if isinstance(t.get('scale'), list)]
        return f'{sizes[0] if sizes else "native"}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}'

    def summary(self) -> str:
        """The transforms and their options, readable."""
        steps = []
        for transform in self.transforms:
            options = ', '.join(f'{key}={value}' for key, value in transform.items() if key != 'type')
            steps.append(f'{transform["type"]}({options})')
        return ' -> '.join(steps) + (f' of {self.labels["ids"]} ids' if self.labels else '')

    def file(self) -> str:
        """Content of the recipe file: the recipe and the versions of the libraries."""
        libraries = dict(opencv=cv2.__version__, pillow=PIL.__version__, numpy=np.__version__)
        return json.dumps(dict(summary=self.summary(), recipe=json.loads(self.text), libraries=libraries), indent=1)

    def build(self) -> list:
        """Build the transforms."""
        return [TRANSFORMS.build(as_tuples(transform)) for transform in self.transforms]


def _label_facts(info: Mapping[str, Any]) -> dict:
    encoding = get_encoding(info['label_ids']) if info.get('label_ids') is not None else None
    label_map = info.get('label_map')
    return dict(ids=encoding.name if encoding else 'as in the files',
                table=hashlib.sha256(encoding.table).hexdigest() if encoding else '',
                label_map=sorted(label_map.items()) if label_map else None,
                reduce_zero_label=bool(info.get('reduce_zero_label')))


def as_tuples(value: Any) -> Any:
    """Lists as tuples, which mmcv requires of sizes."""
    if isinstance(value, dict):
        return {key: as_tuples(part) for key, part in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Plain dicts and lists instead of mmengine's."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
