"""The inputs of a step as plain data in a file, so that the step can be computed again."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...checkpoint import read_checkpoint
from ...checkpoint.writer import save_checkpoint

VERSION = 1
_ELEMENTS = {cls.__name__: cls for cls in (SegDataSample, PixelData, BaseDataElement)}


@dataclass
class Forward:
    """One forward pass, and all that it follows from besides the weights."""

    iteration: int
    batch: Any
    """As the data loader gave it, on the host."""
    random: dict | None = None
    """States of the global generators before it (dropout)."""
    progress: tuple[int, int, int] | None = None
    """(iteration, max_iters, seed) of an adapted model, from which all its own draws follow."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Name -> () loss, on the device."""
    autocast: str | None = None
    """'float16' or 'bfloat16' under mixed precision."""


def random_states() -> dict:
    """States of the generators that belong to nobody: torch's, numpy's and Python's."""
    states = dict(torch=torch.get_rng_state(), python=random.getstate(),
                  numpy=np.random.get_state())  # noqa: NPY002
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def autocast_dtype(device: torch.device) -> str | None:
    """What operations on the device are cast to here; None without mixed precision."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return str(torch.get_autocast_dtype(device.type)).removeprefix('torch.')


def set_random_states(states: dict) -> None:
    """Put the generators where they were; the device's only where there is one."""
    torch.set_rng_state(states['torch'].cpu())
    kind, keys, *others = states['numpy']
    np.random.set_state((kind, np.asarray(keys), *others))  # noqa: NPY002
    version, numbers, gauss = states['python']
    random.setstate((version, tuple(numbers), gauss))
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


def save_evidence(path: Path, forwards: list[Forward], model: nn.Module, **facts: Any) -> None:
    """Write the forward passes of one optimiser step, and the buffers that they began with.

    Args:
        path: file to write; ``torch.load(path, weights_only=True)`` opens it.
        forwards: one, or as many as gradients are gathered over.
        model: the model, its buffers restored.
        facts: further plain data.
    """
    trained = {name for name, _ in model.named_parameters()}
    buffers = {name: value for name, value in model.state_dict().items() if name not in trained}
    passes = [{**asdict(replace(one, batch=None, terms={})), 'batch': packed(one.batch),
               'terms': {name: float(value) for name, value in one.terms.items()}} for one in forwards]
    save_checkpoint(dict(version=VERSION, forwards=passes, buffers=buffers, **facts), str(path))


def load_evidence(path: str | Path) -> dict:
    """What :func:`save_evidence` wrote; nothing in the file is run. An error says what else it is."""
    content = read_checkpoint(path, 'cpu')
    if not isinstance(content, dict) or 'forwards' not in content or content.get('version') != VERSION:
        raise ValueError(f'{path} does not hold the inputs of a step; NonFiniteHook writes such files as '
                         '<work_dir>/nonfinite/iter_N.pth')
    return content


def packed(value: Any) -> Any:
    """A batch as plain data: data samples as dicts, arrays as tensors, what is neither as its text."""
    if isinstance(value, BaseDataElement):
        return dict(element=type(value).__name__, metainfo=packed(value.metainfo),
                    data={name: packed(item) for name, item in value.items()})
    if isinstance(value, dict):
        return {str(key): packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(packed(item) for item in value) if type(value) in (list, tuple) else [*map(packed, value)]
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        return value.detach().cpu().as_subclass(Tensor)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    return value.item() if isinstance(value, np.generic) else str(value)


def unpacked(value: Any) -> Any:
    """The batch again."""
    if isinstance(value, dict) and value.keys() == {'element', 'metainfo', 'data'}:
        element = _ELEMENTS.get(value['element'], BaseDataElement)(metainfo=value['metainfo'])
        for name, item in value['data'].items():
            setattr(element, name, unpacked(item))
        return element
    if isinstance(value, dict):
        return {key: unpacked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(unpacked(item) for item in value)
    return value
