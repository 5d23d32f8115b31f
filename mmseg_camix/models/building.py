"""Entries of a method's tables built from their configs; errors name the entry and list the valid choices."""

import difflib
import inspect
from collections.abc import Callable, ItemsView, Iterable, Mapping, ValuesView
from typing import Any, Generic, TypeVar, cast

from mmengine.registry import Registry
from torch import nn

ResultT = TypeVar('ResultT')
EntryT = TypeVar('EntryT', bound=nn.Module)


class TableError(ValueError):
    """A table of the method is wrong; the message names the entry and the valid choices."""


class Table(nn.ModuleDict, Generic[EntryT]):
    """A `ModuleDict` whose entries have a common base class."""

    def __getitem__(self, name: str) -> EntryT:
        return cast(EntryT, super().__getitem__(name))

    def items(self) -> ItemsView[str, EntryT]:
        return cast('ItemsView[str, EntryT]', super().items())

    def values(self) -> ValuesView[EntryT]:
        return cast('ValuesView[EntryT]', super().values())


def listed(names: Iterable[str]) -> str:
    """Names for a message, sorted."""
    return ', '.join(sorted(names)) or '(none)'


def choices(name: object, valid: Iterable[str]) -> str:
    """The end of an error message about a wrong name: the nearest valid one, and all of them."""
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, 1)
    return (f". Did you mean '{near[0]}'?" if near else '.') + f' Available: {listed(valid)}'


def build_entry(kind: str, name: str, cfg: Mapping[str, Any], registry: Registry, base: type[EntryT]) -> EntryT:
    """Build one entry of type ``base``; errors name the entry, and an unknown type lists the valid ones."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise TableError(f"{kind} '{name}' needs a dict with `type`; got {cfg!r}")
    cls = cfg['type'] if isinstance(cfg['type'], type) else registry.get(cfg['type'])
    if cls is None or not (isinstance(cls, type) and issubclass(cls, base)):
        valid = [key for key, value in registry.module_dict.items()
                 if isinstance(value, type) and issubclass(value, base) and value is not base]
        raise TableError(f"{kind} '{name}': type '{cfg['type']}' is not a {base.__name__}{choices(cfg['type'], valid)}")
    return construct(f"{kind} '{name}'", cls, {key: value for key, value in cfg.items() if key != 'type'})


def build_table(kind: str, table: Mapping[str, Any], registry: Registry, base: type[EntryT]) -> Table[EntryT]:
    """Build all entries of a table."""
    return Table({name: build_entry(kind, name, cfg, registry, base) for name, cfg in table.items()})


def construct(what: str, make: Callable[..., ResultT], arguments: Mapping[str, Any], *given: object) -> ResultT:
    """Return ``make(*given, **arguments)``; errors start with ``what``, the entry of the config."""
    what = f'{what} ({make.__name__})'
    check_arguments(what, make, arguments, len(given))
    try:
        return make(*given, **arguments)
    except (TypeError, ValueError, KeyError, OSError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error  # str() of it has quotes
        raise TableError(f'{what}: {reason}') from error


def check_arguments(what: str, make: Callable[..., object], arguments: Iterable[str], num_given: int = 0) -> None:
    """Raise if ``make`` has no parameter of some name; its first ``num_given`` ones are not for configs."""
    parameters = inspect.signature(make).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    valid = list(parameters)[num_given:]
    for name in arguments:
        if name not in valid:
            raise TableError(f"{what} has no argument '{name}'{choices(name, valid)}")
