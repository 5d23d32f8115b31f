"""The state of a training as plain data, and back.

Plain data are tensors, numbers, text, bytes, None, and dicts, lists, tuples and sets of them:
`torch.load(path, weights_only=True)` opens them with nothing allow-listed.
"""
import enum
import logging
from collections import OrderedDict, deque
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from .errors import CheckpointError

# Where an object that is not plain data may be left out with a warning. Everything else is state
# that a resumed training would miss.
DESCRIPTIVE = ('meta', 'message_hub')


class _NotPlain(TypeError):
    """Raised for an object that has no plain form."""


def to_plain(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy of `checkpoint`, as the Runner makes it, as plain data; tensors are shared.

    A dict of weights alone keeps its order and its modules' versions (`_metadata`).

    Raises:
        TypeError: a part that a resumed training needs is an object; names the part.
    """
    plain = OrderedDict() if isinstance(checkpoint, OrderedDict) else {}
    for section, content in checkpoint.items():
        plain[section] = _plain(content, section, section in DESCRIPTIVE,
                                skip_functions=section == 'param_schedulers')
    if hasattr(checkpoint, '_metadata'):
        plain._metadata = checkpoint._metadata
    return plain


def _plain(value: Any, place: str, lenient: bool, skip_functions: bool) -> Any:
    if isinstance(value, HistoryBuffer):
        value = {'log_history': value._log_history, 'count_history': value._count_history,
                 'max_length': value.max_length}
    if isinstance(value, dict):
        return _plain_dict(value, place, lenient, skip_functions)
    if isinstance(value, (list, tuple, deque)):
        items = [_plain(item, f'{place}[{number}]', lenient, skip_functions)
                 for number, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):
        return {_plain(item, place, lenient, skip_functions) for item in value}
    return _plain_leaf(value, place)


def _plain_dict(value: dict, place: str, lenient: bool, skip_functions: bool) -> dict:
    result = OrderedDict() if isinstance(value, OrderedDict) else {}
    # `dict.items` because mmengine's ConfigDict builds lazy objects in its own `items`.
    for key, item in dict.items(value):
        inside = f'{place}.{key}'
        if skip_functions and callable(item) and not isinstance(item, type):
            # A scheduler keeps functions beside its numbers; the new scheduler has its own.
            continue
        try:
            result[_plain_leaf(key, inside)] = _plain(item, inside, lenient, skip_functions)
        except _NotPlain as error:
            if not lenient:
                raise
            print_log(f'Left out of the checkpoint: {error}', 'current', logging.WARNING)
    if hasattr(value, '_metadata'):
        result._metadata = _plain(value._metadata, f'{place}._metadata', lenient, False)
    return result


def _plain_leaf(value: Any, place: str) -> Any:
    if isinstance(value, Tensor):
        # A parameter, or another subclass, as the tensor that it is.
        return value.detach().as_subclass(Tensor)
    if isinstance(value, np.ndarray):
        return _plain_array(value, place)
    if isinstance(value, np.generic):
        return _plain_leaf(value.item(), place)
    if isinstance(value, enum.Enum):
        return _plain_leaf(value.value, place)
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (bool, torch.dtype, torch.device)):
        return value
    for kind in (int, float, complex, str, bytes, bytearray):
        if isinstance(value, kind):
            # Of exactly this type: subclasses would be written by the name of their class.
            return kind(value)
    if isinstance(value, tuple):
        return tuple(_plain_leaf(item, place) for item in value)
    raise _NotPlain(f'`{place}` is an object of {type(value)}; a checkpoint holds only tensors, '
                    'numbers, text, and dicts and lists of them. Put its numbers there instead')


def _plain_array(value: np.ndarray, place: str) -> Any:
    if place.startswith('meta.'):
        # Descriptions, such as a palette, are read by tools that expect lists.
        return _plain(value.tolist(), place, False, False)
    try:
        return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape).copy())
    except TypeError:  # text, objects, and the types that this torch does not have
        return _plain(value.tolist(), place, False, False)


def from_plain(checkpoint: Any) -> Any:
    """Put back, in place, what the Runner expects: the message hub's HistoryBuffers.

    Also moves `meta['config']` to `meta['config_text']`: mmengine's `Runner.resume` would run the
    text under the first name as Python code.

    Raises:
        CheckpointError: `meta` is no dict, of which every reader expects one.
    """
    if not isinstance(checkpoint, dict):
        return checkpoint
    meta = checkpoint.get('meta')
    if 'state_dict' in checkpoint and not isinstance(meta, (dict, type(None))):
        raise CheckpointError(f'its `meta` is a {type(meta).__name__}, not a dict')
    if isinstance(meta, dict) and 'config' in meta:
        meta['config_text'] = meta.pop('config')
    if 'message_hub' in checkpoint:
        checkpoint['message_hub'] = _message_hub(checkpoint['message_hub'])
    return checkpoint


def _message_hub(state: Any) -> dict[str, dict]:
    state = state if isinstance(state, dict) else {}
    hub = {name: state.get(name) if isinstance(state.get(name), dict) else {}
           for name in ('log_scalars', 'runtime_info', 'resumed_keys')}
    hub['log_scalars'] = OrderedDict(
        (key, _history_buffer(value)) for key, value in hub['log_scalars'].items()
        if isinstance(key, str) and key.isprintable())  # mmengine logs the names
    kept = hub['runtime_info'].get('keep_ckpt_ids')
    if isinstance(kept, list):
        # The CheckpointHook makes names of these and removes the files: numbers, not `../others`.
        hub['runtime_info']['keep_ckpt_ids'] = [step for step in kept if type(step) is int]
    return hub


def _history_buffer(value: Any) -> Any:
    if not isinstance(value, dict) or 'log_history' not in value:
        return value
    max_length = value.get('max_length')
    buffer = HistoryBuffer(max_length=max_length if type(max_length) is int else 1000000)
    try:
        log, count = (_numbers(value.get(name)) for name in ('log_history', 'count_history'))
    except (TypeError, ValueError):  # no numbers: without this history
        return buffer
    if log.shape == count.shape and log.ndim == 1:
        buffer._log_history, buffer._count_history = log, count
    return buffer


def _numbers(value: Any) -> np.ndarray:
    """The array of a history. Not of text: an array of it takes the length of the longest for each entry."""
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, np.ndarray) or (isinstance(value, list) and all(type(item) in (int, float) for item in value)):
        return np.asarray(value)
    raise TypeError('a history is a list of numbers')
