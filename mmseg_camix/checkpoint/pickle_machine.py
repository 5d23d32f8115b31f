"""Read a pickle as data: an interpreter of pickle's opcodes that has no way to call anything.

Python's own unpickler imports what a pickle names and calls it. Here a name in the file stays a
name (`Global`), a call of it is looked up in a fixed table of our own builders, and what is not
in the table becomes a `Placeholder`, an inert record of what the file asked for. The standard
library's `pickletools` splits the bytes into opcodes.
"""
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import CheckpointError
from .pickle_stack import Placeholder, StackMachine

Builder = Callable[..., Any]

# In none of these cases is anything called. These rules only tell an attack, which is refused as
# a whole, from somebody's harmless object, which is read around.
_NEVER = frozenset({
    'builtins', 'ctypes', 'importlib', 'nt', 'os', 'posix', 'pty', 'runpy', 'shutil', 'socket',
    'subprocess', 'sys'})
_HARMLESS = frozenset({
    'builtins.object', 'builtins.dict', 'builtins.list', 'builtins.tuple', 'builtins.int',
    'builtins.float', 'builtins.str', 'builtins.bool', 'datetime.datetime', 'datetime.date',
    'datetime.timedelta'})
HISTORY_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'


@dataclass(frozen=True)
class Global:
    """The name of a class or function, as the file spells it (Python 2's modules renamed)."""

    path: str


def _named(module: str, name: str) -> Global:
    # Up to protocol 2, Python writes the names of Python 2: `commands.Popen` is subprocess's.
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return Global(f'{module}.{name}')


class PickleMachine(StackMachine):
    """Interprets one pickle.

    Args:
        builders: what may be built, by the full name that the file uses; our own functions.
        storage: turns a persistent id, as torch writes them for storages, into a storage.
    """

    def __init__(self, builders: Mapping[str, Builder], storage: Callable[[tuple], Any]) -> None:
        self.builders = builders
        self.storage = storage

    def _binpersid(self, _: None) -> None:
        self.stack.append(self.storage(self.stack.pop()))

    def _global(self, argument: str) -> None:
        self.stack.append(_named(*argument.split(' ', 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError('a name that is not text')
        self.stack.append(_named(module, name))

    def _reduce(self, _: None) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self._build_object(function, args))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        kwargs, args, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if kwargs:
            args = (*args, kwargs)
            cls = Global(f'{cls.path} with keywords') if isinstance(cls, Global) else cls
        self.stack.append(self._build_object(cls, args))

    def _inst(self, argument: str) -> None:
        args = self._pop_mark()
        self.stack.append(self._build_object(_named(*argument.split(' ', 1)), tuple(args)))

    def _obj(self, _: None) -> None:
        cls, *args = self._pop_mark()
        self.stack.append(self._build_object(cls, tuple(args)))

    def _build_object(self, function: Any, args: Any) -> Any:
        """Answer a call: by our builder for that name, else by a placeholder, else refuse."""
        if type(function) is not Global or type(args) is not tuple:
            raise CheckpointError('it asks to call something that it computes itself')
        if function.path in self.builders:
            return self.builders[function.path](*args)
        root, name = function.path.split('.', 1)[0], function.path.rsplit('.', 1)[-1]
        is_method_of_buffer = (  # how mmengine's HistoryBuffer pickles its table of statistics
            function.path == 'builtins.getattr' and len(args) == 2
            and args[0] == Global(HISTORY_BUFFER) and type(args[1]) is str)
        is_class = name.lstrip('_')[:1].isupper() and root not in _NEVER
        if not (is_class or is_method_of_buffer or function.path in _HARMLESS):
            raise CheckpointError(f'it asks to call `{function.path}`, which is not data')
        return Placeholder(function.path, args)

    def _build(self, _: None) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Placeholder):
            target.state = state
        elif type(target) is OrderedDict:
            # A state dict carries the versions of its modules as an attribute.
            if type(state) is dict and isinstance(state.get('_metadata'), dict):
                target._metadata = state['_metadata']
        elif type(target) is np.ndarray:
            _fill_array(target, state)
        elif isinstance(target, np.dtype):
            if state[1] not in ('<', '=', '|') or any(part is not None for part in state[2:5]):
                raise CheckpointError('it holds an array of records or of foreign byte order')
        elif type(target) is not dict:  # a dict stands for a config, whose attributes are lost
            raise CheckpointError(f'it sets the state of a {type(target).__name__}')


def _fill_array(array: np.ndarray, state: tuple) -> None:
    version, shape, dtype, is_fortran, data = state
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise CheckpointError('it holds an array of objects, not of numbers')
    data = data.encode('latin1') if isinstance(data, str) else data
    array.__setstate__((version, shape, dtype, is_fortran, data))


# What a damaged or hostile pickle makes the machine stumble over.
BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RecursionError,
          MemoryError, OverflowError, RuntimeError, pickle.UnpicklingError)
