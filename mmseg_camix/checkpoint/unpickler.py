"""Read a pickle as data: Python's unpickler without its means to import or call anything.

A name in the file stays a name (`Global`). A call of it is looked up in a fixed table of our own builders; what is not
in the table becomes a `Placeholder`, an inert record. Opcodes that checkpoints do not need are refused, and memory
and time are limited, since a few bytes of a pickle can allocate gigabytes.
"""
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .errors import CheckpointError

Builder = Callable[..., Any]

# In none of these cases is anything called. These rules only tell an attack, which is refused as
# a whole, from a harmless object of another program, which is left out.
_NEVER = frozenset({
    'builtins', 'ctypes', 'importlib', 'nt', 'os', 'posix', 'pty', 'runpy', 'shutil', 'socket', 'subprocess', 'sys'})
_HARMLESS = frozenset({
    'builtins.object', 'builtins.dict', 'builtins.list', 'builtins.tuple', 'builtins.int', 'builtins.float',
    'builtins.str', 'builtins.bool', 'datetime.datetime', 'datetime.date', 'datetime.timedelta'})
HISTORY_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
_MOST_OPCODES = 2_000_000  # some five seconds
_MOST_BITS = 3200  # of an integer: a thousand decimal digits
_LONGEST_NAME = 1000  # characters of the name of a class
# The hashes of numbers are the same in every process, so that a file can choose keys that collide: numbers in the slots
# that a dict tries in turn, tuples even in their hashes. In containers of this many keys it costs some 3 us a key at
# most. Integers that count the entries, as in the state of an optimiser, do not collide, however many they are.
_MOST_KEY_BITS = 60  # no two integers up to this size have one hash
_MOST_NUMBERS, _MOST_TUPLES = 5000, 256
_LARGEST_GAP = 1000
_LONGEST_KEY = 10_000  # characters; equal texts are compared as a whole
# Bytes that an opcode takes in memory, where that is more than _BYTES: containers with room to grow and their plain
# copies, the memo.
_BYTES_OF = {'EMPTY_SET': 360, 'FROZENSET': 240, 'EMPTY_DICT': 192, 'EMPTY_LIST': 180, 'MARK': 120, 'TUPLE1': 100,
             'TUPLE2': 100, 'TUPLE3': 100, 'SETITEM': 120, 'BINPUT': 120, 'LONG_BINPUT': 120, 'PUT': 120,
             'MEMOIZE': 120, 'BINPERSID': 512}
_BYTES = 48
_BYTES_OF_CALL = 512  # a tensor, or another small object


@dataclass(frozen=True)
class Global:
    """The name of a class or function, as the file spells it (modules of Python 2 renamed)."""

    path: str


@dataclass(eq=False)
class Placeholder:
    """Stands for an object of an unknown class."""

    path: str
    args: tuple = ()
    state: Any = None
    items: list = field(default_factory=list)


class Budget:
    """Bytes that one file may still take in memory, and the instructions of all its pickles so far."""

    def __init__(self, size: int) -> None:
        self.left, self.instructions = size, 0

    def spend(self, size: int) -> None:
        """Take `size` bytes, or raise CheckpointError where fewer are left."""
        self.left -= size
        if self.left < 0:
            raise CheckpointError('it would take far more memory than its size accounts for')


class Unpickler(pickle._Unpickler):
    """Interprets one pickle.

    Args:
        file: positioned at the start of the pickle, and after `load` right behind its end.
        builders: what may be built, by the full name that the file uses; our own functions.
        storage: turns a persistent id, as torch writes them for storages, into a storage.
        budget: memory that it may take.
    """

    def __init__(self, file: BinaryIO, builders: Mapping[str, Builder], storage: Callable[[tuple], Any],
                 budget: Budget) -> None:
        super().__init__(file, encoding='latin1')
        self._file_read, self._file_readline = self._read, self._read_line
        self._file, self._builders, self._storage, self._budget = file, builders, storage, budget

    def _read(self, size: int) -> bytes:
        """`file.read`, for which a size that is announced costs memory before it is allocated."""
        if size == 1:
            return self._file.read(1)
        self._budget.spend(4 * size + _BYTES)  # as text, up to four bytes for each
        return self._file.read(size)

    def _read_line(self) -> bytes:
        line = self._file.readline()
        self._budget.spend(4 * len(line))
        return line

    def step(self, key: int) -> None:
        """Interpret one opcode."""
        self._budget.instructions += 1
        if self._budget.instructions > _MOST_OPCODES:
            raise CheckpointError(f'it has more than {_MOST_OPCODES} instructions')
        self._budget.spend(_COSTS.get(key, _BYTES))
        handler = _ALLOWED.get(key)
        if handler is None:
            raise CheckpointError(f'its pickle uses the instruction {bytes([key])!r}, which checkpoints do not')
        handler(self)
        if self.stack and type(self.stack[-1]) is int and self.stack[-1].bit_length() > _MOST_BITS:
            raise CheckpointError('it contains an integer of more than a thousand digits')

    def find_class(self, module: str, name: str) -> Global:
        """The name, not the class. Up to protocol 2, Python writes names of Python 2, such as `commands.Popen`."""
        if len(module) + len(name) > _LONGEST_NAME:
            raise CheckpointError(f'it names a class with more than {_LONGEST_NAME} characters')
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return Global(f'{module}.{name}')

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)

    def load_frame(self) -> None:
        self.read(8)  # frames only group what follows

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), 'little'))))

    def load_reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.append(self._build_object(function, args))

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        kwargs, args, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if type(args) is tuple and type(kwargs) is dict and kwargs:
            args = (*args, kwargs)
            cls = Global(f'{cls.path} with keywords') if isinstance(cls, Global) else cls
        self.append(self._build_object(cls, args))

    def _instantiate(self, klass: Any, args: list) -> None:
        self.append(self._build_object(klass, tuple(args)))

    def _build_object(self, function: Any, args: Any) -> Any:
        """The answer to a call: by our builder for that name, else a placeholder, else an error."""
        if type(function) is not Global or type(args) is not tuple:
            raise CheckpointError('it asks to call something that it computes itself')
        self._budget.spend(_BYTES_OF_CALL + _bytes_of_copy(args))
        self._budget.spend(sum(map(_bytes_of_copy, args)))
        if function.path in self._builders:
            return self._builders[function.path](*args)
        root, name = function.path.split('.', 1)[0], function.path.rsplit('.', 1)[-1]
        is_method_of_buffer = (  # how mmengine's HistoryBuffer pickles its table of statistics
            function.path == 'builtins.getattr' and len(args) == 2
            and type(args[0]) is Global and args[0].path == HISTORY_BUFFER and type(args[1]) is str)
        is_class = name.lstrip('_')[:1].isupper() and root not in _NEVER
        if not (is_class or is_method_of_buffer or function.path in _HARMLESS):
            raise CheckpointError(f'it asks to call `{function.path}`, which is not data')
        return Placeholder(function.path, args)

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Placeholder):
            target.state = state
        elif type(target) is OrderedDict:
            # A state dict carries the versions of its modules as an attribute.
            if type(state) is dict and isinstance(state.get('_metadata'), dict):
                target._metadata = state['_metadata']
        elif type(target) is np.ndarray and is_tuple_of((5, ), state):
            self._budget.spend(sum(map(_bytes_of_copy, state)))
            _fill_array(target, state)
        elif isinstance(target, np.dtype) and type(state) is tuple:
            if state[1] not in ('<', '=', '|') or any(part is not None for part in state[2:5]):
                raise CheckpointError('it holds an array of records or of foreign byte order')
        elif type(target) is not dict:  # a dict stands for a config, whose attributes are lost
            raise CheckpointError(f'it sets the state of a {type(target).__name__}')

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.items.extend(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise TypeError(f'a {type(target).__name__} takes no items')

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise TypeError('only a set takes set items')
        self.stack[-1].update(checked_keys(items, len(self.stack[-1])))

    def load_frozenset(self) -> None:
        items = checked_keys(self.pop_mark())
        self.append(frozenset(items))

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(list(zip(items[::2], items[1::2])))

    def load_put(self) -> None:
        self._memoize(int(self.readline()[:-1]))

    def load_long_binput(self) -> None:
        self._memoize(int.from_bytes(self.read(4), 'little'))

    def _memoize(self, number: int) -> None:
        """Keep the last value under a number; picklers count from 0 or 1."""
        if not 0 <= number <= len(self.memo) + _LARGEST_GAP:
            raise CheckpointError('its pickle numbers its objects with gaps, which picklers do not')
        self.memo[number] = self.stack[-1]

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([(key, value)])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._update(list(zip(items[::2], items[1::2])))

    def _update(self, pairs: list[tuple]) -> None:
        target = self.stack[-1]
        self._budget.spend(_COSTS[pickle.SETITEM[0]] * len(pairs))
        if isinstance(target, Placeholder):
            target.items.extend(pairs)
        elif type(target) in (dict, OrderedDict):
            checked_keys([key for key, _ in pairs], len(target))
            target.update(pairs)
        else:
            raise TypeError(f'a {type(target).__name__} takes no keys')


def _bytes_of_copy(value: Any) -> int:
    """Bytes of a copy made by a builder: the memo can pass the same megabyte a thousand times."""
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return _COSTS[pickle.SETITEM[0]] * len(value)
    return 2 * len(value) if isinstance(value, (str, bytes, bytearray)) else 0


def _fill_array(array: np.ndarray, state: tuple) -> None:
    version, shape, dtype, is_fortran, data = state
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise CheckpointError('it holds an array of objects, not of numbers')
    data = data.encode('latin1') if isinstance(data, str) else data
    array.__setstate__((version, shape, dtype, is_fortran, data))


def is_tuple_of(lengths: Container[int], value: Any) -> bool:
    """Whether `value` can be unpacked. A tensor would be, too, but first made into a tensor for each of its numbers."""
    return type(value) is tuple and len(value) in lengths


def checked_keys(keys: list, present: int = 0) -> list:
    """The keys, or an error if they could be made to collide with one another, so that a dict takes hours.

    Args:
        keys: of one dict or set.
        present: number of keys that it has already.
    """
    for entries, key in enumerate(keys, present):
        parts = key if type(key) is tuple and len(key) <= 4 else (key, )
        _check_parts(parts)
        if all(type(part) in _UNPREDICTABLE for part in parts):
            continue
        if entries >= (_MOST_TUPLES if type(key) is tuple else _MOST_NUMBERS) and not (
                type(key) is int and 0 <= key <= entries + _LARGEST_GAP):
            raise CheckpointError(f'it has over {entries} keys in one place, and a {type(key).__name__} as one of them')
    return keys


# Hashes that a file cannot choose, because they are of random seeds or of addresses, and those of single values.
_UNPREDICTABLE = (str, bytes, Global, Placeholder, type(None), bool)


def _check_parts(parts: tuple) -> None:
    """Raise unless a key consists of short text and numbers."""
    for part in parts:
        if type(part) in (str, bytes) and len(part) > _LONGEST_KEY:
            raise CheckpointError(f'it has a key of {len(part)} characters, more than {_LONGEST_KEY}')
        is_number = type(part) is float or (type(part) is int and part.bit_length() <= _MOST_KEY_BITS)
        if not (is_number or type(part) in _UNPREDICTABLE):
            raise CheckpointError(f'it uses a {type(part).__name__} as a key')


def _opcodes(names: str) -> list[int]:
    return [getattr(pickle, name)[0] for name in names.split()]


_COSTS = {getattr(pickle, name)[0]: size for name, size in _BYTES_OF.items()}
# The method that this class or its base has for each opcode that is allowed. INST and OBJ end in `_instantiate`.
_ALLOWED = {key: getattr(Unpickler, pickle._Unpickler.dispatch[key].__name__) for key in _opcodes('''
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE
    SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT
    SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL
    STACK_GLOBAL BINPERSID REDUCE BUILD INST OBJ NEWOBJ NEWOBJ_EX''')}
Unpickler.dispatch = {key: lambda unpickler, key=key: unpickler.step(key) for key in range(256)}

# What a damaged or hostile pickle makes the interpreter stumble over.
BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RecursionError,
          MemoryError, OverflowError, RuntimeError, pickle.UnpicklingError, AssertionError)
