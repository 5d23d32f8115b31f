"""Whether two trainings are the same, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmseg_camix.checkpoint import find_latest_checkpoint
from mmseg_camix.engine.hooks.record_hook import read_record

# What the clock, the memory or the folder decides, among curves and among what else the message hub holds.
_OF_THE_MOMENT = ('time', 'memory', 'eta')
_OF_THE_FOLDER = ('cfg', 'experiment_name', 'last_ckpt', 'best_ckpt', 'keep_ckpt_ids', 'eta')


def differences(one: Path, other: Path) -> list[str]:
    """Where two work folders differ: last checkpoint (weights, optimiser, schedules, curves), best ones, metrics."""
    found = list(unequal(*(_state_of(folder) for folder in (one, other))))
    best = [sorted(file.name for file in folder.glob('best_*.pth')) for folder in (one, other)]
    if best[0] != best[1]:
        found.append(f'best checkpoints ({", ".join(best[0])}; {", ".join(best[1])})')
    else:
        for name in best[0]:
            weights = (_read(folder / name)['state_dict'] for folder in (one, other))
            found += [f'{name}: {place}' for place in unequal(*weights)]
    if read_record(one) != read_record(other):
        found.append('metrics.json')
    return found


def unequal(one: object, other: object, place: str = '') -> Iterator[str]:
    """Names of the places at which two nests of plain data differ; tensors by their bits, NaN is NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            inside = f'{place}.{key}' if place else str(key)
            if key in one and key in other:
                yield from unequal(one[key], other[key], inside)
            else:
                yield f'{inside} (in one of them only)'
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other)):
            yield from unequal(*pair, f'{place}[{number}]')
    elif not _equal(one, other):
        yield place


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


def _state_of(folder: Path) -> dict:
    """The last checkpoint of a work folder."""
    path = find_latest_checkpoint(str(folder))
    if path is None:
        raise FileNotFoundError(f'{folder} holds no checkpoint')
    return _read(path)


def _read(path: str | Path) -> dict:
    return comparable(torch.load(path, map_location='cpu', weights_only=True))


def comparable(checkpoint: dict) -> dict:
    """A checkpoint of ours without what is of the moment or of the folder."""
    hub = checkpoint['message_hub']
    curves = {key: value for key, value in hub['log_scalars'].items()
              if not any(word in key.rsplit('/', 1)[-1] for word in _OF_THE_MOMENT)}
    info = {key: value for key, value in hub['runtime_info'].items() if not key.startswith(_OF_THE_FOLDER)}
    state = {key: value for key, value in checkpoint.items() if key not in ('meta', 'message_hub')}
    return dict(state, curves=curves, info=info, iteration=checkpoint['meta']['iter'])
