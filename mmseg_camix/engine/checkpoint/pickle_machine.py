"""Read a pickle as data: an interpreter of pickle's opcodes that has no way to call anything.

Python's own unpickler imports what a pickle names and calls it. Here a name in the file stays a
name (`Global`), a call of it is looked up in a fixed table of our own builders, and what is not
in the table becomes a `Placeholder`, an inert record of what the file asked for. The standard
library's `pickletools` splits the bytes into opcodes.
"""
import pickle
import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .errors import CheckpointError

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


@dataclass(eq=False)
class Placeholder:
    """What stands where the file wanted an object of an unknown class."""

    path: str
    args: tuple = ()
    state: Any = None
    items: list = field(default_factory=list)


def _named(module: str, name: str) -> Global:
    # Up to protocol 2, Python writes the names of Python 2: `commands.Popen` is subprocess's.
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return Global(f'{module}.{name}')


class PickleMachine:
    """Interprets one pickle.

    Args:
        builders: what may be built, by the full name that the file uses; our own functions.
        storage: turns a persistent id, as torch writes them for storages, into a storage.
    """

    def __init__(self, builders: Mapping[str, Builder], storage: Callable[[tuple], Any]) -> None:
        self.builders = builders
        self.storage = storage

    def load(self, file: BinaryIO) -> Any:
        """Read one pickle from where `file` stands, and leave it right behind the pickle."""
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == 'STOP':
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise CheckpointError('its pickle has no end')

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif name in _PUSH_CONSTANT:
            self.stack.append(_PUSH_CONSTANT[name]())
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            self.memo[argument] = self.stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            self.stack.append(self.memo[argument])
        elif name not in ('PROTO', 'FRAME'):
            handler = getattr(self, f'_{name.lower()}', None)
            if handler is None:
                raise CheckpointError(f'its pickle uses {name}, which checkpoints do not')
            handler(argument)

    # Stack, memo and containers.

    def _mark(self, _: None) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _pop_mark(self, _: None = None) -> list:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _pop(self, _: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._pop_mark()

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, _: None) -> None:
        items = self._pop_mark()
        self.stack.append(tuple(items))

    def _tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError('the stack is too short')
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _tuple1(self, _: None) -> None:
        self._tuple_of(1)

    def _tuple2(self, _: None) -> None:
        self._tuple_of(2)

    def _tuple3(self, _: None) -> None:
        self._tuple_of(3)

    def _list(self, _: None) -> None:
        items = self._pop_mark()
        self.stack.append(items)

    def _dict(self, _: None) -> None:
        items = self._pop_mark()
        self.stack.append(dict(zip(items[::2], items[1::2])))

    def _frozenset(self, _: None) -> None:
        items = self._pop_mark()
        self.stack.append(frozenset(items))

    def _append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.items.extend(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise TypeError(f'a {type(target).__name__} takes no items')

    def _additems(self, _: None) -> None:
        items = self._pop_mark()
        if type(self.stack[-1]) is not set:
            raise TypeError('only a set takes set items')
        self.stack[-1].update(items)

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([(key, value)])

    def _setitems(self, _: None) -> None:
        items = self._pop_mark()
        self._update(list(zip(items[::2], items[1::2])))

    def _update(self, pairs: list[tuple]) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.items.extend(pairs)
        elif type(target) in (dict, OrderedDict):
            target.update(pairs)
        else:
            raise TypeError(f'a {type(target).__name__} takes no keys')

    # Names and calls, none of which leads to code of the file's choice.

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


_PUSH_ARGUMENT = frozenset({
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT',
    'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8',
    'BYTEARRAY8', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'})
_PUSH_CONSTANT: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None, 'NEWTRUE': lambda: True, 'NEWFALSE': lambda: False,
    'EMPTY_TUPLE': tuple, 'EMPTY_LIST': list, 'EMPTY_DICT': dict, 'EMPTY_SET': set}

# What a damaged or hostile pickle makes the machine stumble over.
BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RecursionError,
          MemoryError, OverflowError, RuntimeError, pickle.UnpicklingError)
