"""Turn what the restricted reader found into plain data, or refuse it by name."""
from collections import OrderedDict
from typing import Any

import numpy as np
from torch import Tensor

from .builders import DTYPES
from .errors import CheckpointError
from .pickle_machine import HISTORY_BUFFER, Global, Placeholder

# A training cannot go on, and a network cannot run, without all of these.
NEEDED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')


class _Absent:
    """Marks what has to be left out."""


_ABSENT = _Absent()


def without_placeholders(content: Any) -> tuple[Any, list[str]]:
    """Plain data of `content`, and what was left out of it, as `place (class)`.

    Objects of unknown classes are left out where they only describe (meta, the message hub).

    Raises:
        CheckpointError: one of them stands where weights or a state of the training belong.
    """
    left_out: list[str] = []
    # Other programs' checkpoints have other sections: a dict of dicts, one of them the weights.
    has_sections = isinstance(content, dict) and any(
        isinstance(item, dict) for item in content.values())
    try:
        plain = _plain(content, '', not has_sections, left_out, {})
    except RecursionError as error:
        raise CheckpointError('its data are nested too deeply, or in themselves') from error
    if has_sections and 'message_hub' in content:
        # The Runner needs it to resume; its absence costs the history of the log only.
        plain.setdefault('message_hub', {})
    return plain, left_out


def _plain(value: Any, place: str, needed: bool, left_out: list[str], seen: dict) -> Any:
    if isinstance(value, Placeholder) and value.path == HISTORY_BUFFER:
        value = history_state(value)
    if isinstance(value, Global) and value.path in DTYPES:
        return DTYPES[value.path]
    if isinstance(value, Placeholder) or not isinstance(value, _PLAIN):
        kind = getattr(value, 'path', type(value).__name__)
        if needed:
            raise CheckpointError(f'`{place or "the file itself"}` is an object of the class '
                                  f'`{kind}`, where weights or a state of the training belong')
        left_out.append(f'{place} ({kind})')
        return _ABSENT
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return value
    # The same list in two places stays one list. (The value is kept, or its id could be reused.)
    known = id(value), needed
    if known not in seen:
        seen[known] = value, _plain_container(value, place, needed, left_out, seen)
    return seen[known][1]


_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, Tensor, np.ndarray, dict,
          list, tuple, set, frozenset)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())


def _plain_container(value: Any, place: str, needed: bool, left_out: list[str],
                     seen: dict) -> Any:
    if isinstance(value, dict):
        result = type(value)() if type(value) is OrderedDict else {}
        for key, item in value.items():
            inside = f'{place}.{key}' if place else str(key)
            need = needed or (not place and (key in NEEDED or _holds_tensors(item)))
            key = _plain(key, f'{inside} as a key', need, left_out, seen)
            item = _plain(item, inside, need, left_out, seen)
            if key is not _ABSENT and item is not _ABSENT:
                result[key] = item
        if hasattr(value, '_metadata'):
            result._metadata = value._metadata
        return result
    items = [_plain(item, f'{place}[{number}]', needed, left_out, seen)
             for number, item in enumerate(value)]
    return type(value)(None if item is _ABSENT else item for item in items)


def history_state(buffer: Placeholder) -> dict:
    """The numbers of a pickled HistoryBuffer, without its table of functions."""
    state = buffer.state if isinstance(buffer.state, dict) else {}
    return {'log_history': state.get('_log_history'),
            'count_history': state.get('_count_history'),
            'max_length': state.get('max_length')}
