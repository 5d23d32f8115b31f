"""Where two trainings differ, bit by bit."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmseg_camix.checkpoint import find_latest_checkpoint
from mmseg_camix.engine.hooks.record_hook import read_record

# Curves and entries of the message hub that depend on the clock, the machine or the folder.
MOMENTARY_CURVES = ('time', 'memory', 'eta')
FOLDER_ENTRIES = ('cfg', 'experiment_name', 'last_ckpt', 'best_ckpt', 'keep_ckpt_ids', 'eta')


def differences(folder: Path, other: Path) -> list[str]:
    """Places in which two work folders differ: last checkpoint (weights to curves), best checkpoints, metrics."""
    places = list(unequal(*(_read(_latest(path)) for path in (folder, other))))
    best, other_best = (sorted(file.name for file in path.glob('best_*.pth')) for path in (folder, other))
    if best != other_best:
        places.append(f'best checkpoints ({", ".join(best)}; {", ".join(other_best)})')
    else:
        for name in best:
            weights = (_read(path / name)['state_dict'] for path in (folder, other))
            places += [f'{name}: {place}' for place in unequal(*weights)]
    return places + (['metrics.json'] if read_record(folder) != read_record(other) else [])


def unequal(value: object, other: object, place: str = '') -> Iterator[str]:
    """Names of the places at which two nests of plain data differ; tensors by their bits, NaN equals NaN."""
    if isinstance(value, dict) and isinstance(other, dict):
        for key in [*value, *(key for key in other if key not in value)]:
            inside = f'{place}.{key}' if place else str(key)
            if key in value and key in other:
                yield from unequal(value[key], other[key], inside)
            else:
                yield f'{inside} (in one of them only)'
    elif isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)) and len(value) == len(other):
        for number, pair in enumerate(zip(value, other)):
            yield from unequal(*pair, f'{place}[{number}]')
    elif not _equal(value, other):
        yield place


def _equal(value: object, other: object) -> bool:
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        alike = value.dtype == other.dtype and value.shape == other.shape
        return alike and value.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(value, float) and isinstance(other, float) and math.isnan(value):
        return math.isnan(other)
    return type(value) is type(other) and value == other


def _latest(folder: Path) -> str:
    path = find_latest_checkpoint(str(folder))
    if path is None:
        raise FileNotFoundError(f'{folder} holds no checkpoint')
    return path


def _read(path: str | Path) -> dict:
    return comparable(torch.load(path, map_location='cpu', weights_only=True))


def comparable(checkpoint: dict) -> dict:
    """A checkpoint's content without what depends on the moment or the folder."""
    hub = checkpoint['message_hub']
    curves = {key: value for key, value in hub['log_scalars'].items()
              if not any(word in key.rsplit('/', 1)[-1] for word in MOMENTARY_CURVES)}
    info = {key: value for key, value in hub['runtime_info'].items() if not key.startswith(FOLDER_ENTRIES)}
    state = {key: value for key, value in checkpoint.items() if key not in ('meta', 'message_hub')}
    return dict(state, curves=curves, info=info, iteration=checkpoint['meta']['iter'])
