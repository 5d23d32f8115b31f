"""The part of a pickle that is plain data: numbers, text, and the containers of Python."""
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from .errors import CheckpointError


@dataclass(eq=False)
class Placeholder:
    """What stands where the file wanted an object of an unknown class."""

    path: str
    args: tuple = ()
    state: Any = None
    items: list = field(default_factory=list)


_PUSH_ARGUMENT = frozenset({
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT',
    'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8',
    'BYTEARRAY8', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'})
_PUSH_CONSTANT: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None, 'NEWTRUE': lambda: True, 'NEWFALSE': lambda: False,
    'EMPTY_TUPLE': tuple, 'EMPTY_LIST': list, 'EMPTY_DICT': dict, 'EMPTY_SET': set}


class StackMachine:
    """Interprets the opcodes of a pickle that push, keep and fill; each is a method of its name."""

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
