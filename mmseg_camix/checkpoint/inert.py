"""Plain data of what the unpickler returned; objects are left out or refused by name."""
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .builders import DTYPES
from .errors import CheckpointError, shortened
from .unpickler import HISTORY_BUFFER, Global, Placeholder

# Without all of these no training can continue and no network can run.
NEEDED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')


_ABSENT: Any = object()  # marks what has to be left out


def without_placeholders(content: Any) -> tuple[Any, list[str]]:
    """Plain data of `content`, and what was left out of it, as `place (class)`.

    Objects of unknown classes are left out where they only describe (meta, the message hub).

    Raises:
        CheckpointError: one of them stands where weights or a state of the training belong.
    """
    # Other programs' checkpoints have other sections: a dict of dicts, one of them the weights.
    has_sections = isinstance(content, dict) and any(isinstance(item, dict) for item in content.values())
    walk = _Walk()
    try:
        plain = walk.plain(content, '', not has_sections)
    except RecursionError as error:
        raise CheckpointError('its data are nested too deeply, or in themselves') from error
    if has_sections and 'message_hub' in content:
        # The Runner needs it to resume; its absence costs the history of the log only.
        plain.setdefault('message_hub', {})
    return plain, walk.left_out


class _Walk:
    """One pass over what the unpickler returned.

    Lists may be shared: 40 of them, each with two references to the next, are 2**40 lists for everyone who walks
    through them. The entries are counted as such a walk would meet them.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self.entries = 0
        # By the id of a container, which all are alive during the walk: its plain form, where parts are `needed` (1) or
        # not (0), and its number of entries if these are many. Millions of small ones must take little memory.
        self.known: tuple[dict[int, Any], dict[int, Any]] = ({}, {})
        self.sizes: dict[int, int] = {}
        self.temporary: list[dict] = []

    def plain(self, value: Any, place: str, needed: bool) -> Any:
        """Plain data of `value`, which is at `place`; `needed` if no part of it may be left out."""
        self.entries += 1
        if isinstance(value, Placeholder) and value.path == HISTORY_BUFFER:
            value = history_state(value)
            self.temporary.append(value)
        if isinstance(value, Global) and value.path in DTYPES:
            return DTYPES[value.path]
        if isinstance(value, Placeholder) or not isinstance(value, _PLAIN):
            kind = getattr(value, 'path', type(value).__name__)
            if needed:
                raise CheckpointError(f'`{shortened(place) or "the file itself"}` is an object of the class '
                                      f'`{kind}`, where weights or a state of the training belong')
            if len(self.left_out) < _MOST_NAMED:
                self.left_out.append(f'{shortened(place)} ({kind})')
            return _ABSENT
        if not isinstance(value, (dict, list, tuple, set, frozenset)):
            return value
        # The same list in two places stays one list.
        known = self.known[needed]
        if id(value) not in known:
            before = self.entries
            known[id(value)] = self._container(value, place, needed)
            if self.entries - before > _FEW_ENTRIES:
                self.sizes[id(value)] = self.entries - before
        else:
            self.entries += self.sizes.get(id(value), _FEW_ENTRIES)
        if self.entries > _MOST_ENTRIES:
            raise CheckpointError(f'its lists share so many parts that they have over {_MOST_ENTRIES} entries')
        return known[id(value)]

    def _container(self, value: Any, place: str, needed: bool) -> Any:
        if isinstance(value, dict):
            return self._dict(value, place, needed)
        items = [self.plain(item, f'{place}[{number}]', needed) for number, item in enumerate(value)]
        return type(value)(None if item is _ABSENT else item for item in items)

    def _dict(self, value: dict, place: str, needed: bool) -> dict:
        result = type(value)() if type(value) is OrderedDict else {}
        for key, item in value.items():
            name = str(key)[:100] if isinstance(key, (str, int)) else f'({type(key).__name__})'
            inside = f'{place}.{name}' if place else name
            need = needed or (not place and (key in NEEDED or _holds_tensors(item)))
            key = self.plain(key, f'{inside} as a key', need)
            item = self.plain(item, inside, need)
            if key is not _ABSENT and item is not _ABSENT:
                result[key] = item
        if hasattr(value, '_metadata'):
            result._metadata = self.plain(value._metadata, f'{place}._metadata', needed)
        return result


_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, Tensor, torch.device, np.ndarray, dict,
          list, tuple, set, frozenset)
_MOST_ENTRIES = 5_000_000
_FEW_ENTRIES = 4
_MOST_NAMED = 20


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())


def history_state(buffer: Placeholder) -> dict:
    """The numbers of a pickled HistoryBuffer, without its table of functions."""
    state = buffer.state if isinstance(buffer.state, dict) else {}
    return {'log_history': state.get('_log_history'),
            'count_history': state.get('_count_history'),
            'max_length': state.get('max_length')}
