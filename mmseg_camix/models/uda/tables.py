"""The three tables of a method (masks, views, objectives): merged, checked, built, ordered.

Everything that can be wrong in a table is found here, when the model is built: unknown names and
types, references to views that do not exist, cycles.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

from mmengine.registry import Registry
from torch import nn

from ..step import Progress


class TableError(ValueError):
    """A table of the method is wrong; the message names the entry and the valid choices."""


def listed(names: Iterable[str]) -> str:
    """Names as people read them."""
    return ', '.join(sorted(names)) or '(none)'


def merge_method(defaults: Mapping, given_tables: Mapping, given_arguments: Mapping) -> dict:
    """A method's defaults with what a config gives for its tables and for its single entries."""
    cfg = {name: merge_table(defaults.get(name), table) for name, table in given_tables.items()}
    for name, arguments in given_arguments.items():
        default = defaults.get(name)
        if arguments is not None or default is not None:
            cfg[name] = merge_arguments(default or {}, arguments or {})
    return cfg


def merge_table(defaults: Mapping | None, overrides: Mapping | None) -> dict:
    """A table's defaults with overrides merged in, as OpenMMLab's configs do it.

    ``_delete_=True`` in an override replaces instead of merging, and so does another ``type`` (the
    arguments of one class rarely suit another). An entry set to None is removed.
    """
    result = copy.deepcopy(dict(defaults or {}))
    for name, entry in (overrides or {}).items():
        known = result.get(name)
        result[name] = merge_arguments(known or {}, entry) if isinstance(entry, Mapping) else entry
    return {name: entry for name, entry in result.items() if entry is not None}


def merge_arguments(known: Mapping, given: Mapping) -> dict:
    """Arguments of one class merged, dicts within dicts too; a value of None stays an argument.

    Another ``type`` replaces at every depth, for example that of a schedule.
    """
    kept = not given.get('_delete_', False) and given.get('type', known.get('type')) == known.get('type')
    result = copy.deepcopy(dict(known)) if kept else {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            inner = result.get(name)
            value = merge_arguments(inner if isinstance(inner, Mapping) else {}, value)
        if name != '_delete_':
            result[name] = value
    return result


def build_entry(kind: str, name: str, cfg: Mapping, registry: Registry, base: type) -> nn.Module:
    """Build one entry; any error names the entry, and unknown types list the valid ones."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise TableError(f"{kind} '{name}' needs a dict with `type`; got {cfg!r}. An override of a "
                         f'default entry merges only under the same name')
    cls = cfg['type'] if isinstance(cfg['type'], type) else registry.get(cfg['type'])
    if cls is None or not (isinstance(cls, type) and issubclass(cls, base)):
        valid = [key for key, value in registry.module_dict.items()
                 if isinstance(value, type) and issubclass(value, base) and value is not base]
        raise TableError(f"{kind} '{name}': type '{cfg['type']}' is not a {base.__name__}; "
                         f'available: {listed(valid)}')
    return construct(f"{kind} '{name}'", cls, {key: value for key, value in cfg.items() if key != 'type'})


def construct(what: str, cls: type | Callable, arguments: Mapping, *given: object) -> nn.Module:
    """``cls(*given, **arguments)``; an error says in which entry of the config it lies."""
    try:
        return cls(*given, **arguments)
    except (TypeError, ValueError, KeyError, OSError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error  # str() of it has quotes
        raise TableError(f'{what} ({cls.__name__}): {reason}') from error


def build_table(kind: str, table: Mapping, registry: Registry, base: type) -> nn.ModuleDict:
    """Build all entries of a table."""
    return nn.ModuleDict({
        name: build_entry(kind, name, cfg, registry, base) for name, cfg in table.items()})


def check_reference(kind: str, name: str, what: str, wanted: str, valid: Iterable[str]) -> None:
    """Raise if entry ``name`` refers to something that is not there."""
    valid = list(valid)
    if wanted not in valid:
        raise TableError(f"{kind} '{name}' reads {what} '{wanted}', which is not defined; "
                         f'available: {listed(valid)}')


def check_references(masks: Mapping, views: Mapping, objectives: Mapping, branches: Iterable[str]) -> None:
    """Raise where an entry reads a branch, mask or view that does not exist."""
    branches = list(branches)
    if not objectives:
        raise TableError('a method needs at least one objective, e.g. '
                         "objectives=dict(source=dict(type='SupervisedLoss'))")
    for name in views:
        if name in branches:
            raise TableError(f"view '{name}' has the name of a branch of the data set; choose another")
    images = [*branches, *views]
    for kind, table, valid in (('mask', masks, branches), ('view', views, images), ('objective', objectives, images)):
        for name, entry in table.items():
            for other in entry.reads:
                check_reference(kind, name, 'branch' if kind == 'mask' else 'view', other, valid)
            if kind != 'mask' and entry.mask is not None:
                check_reference(kind, name, 'mask', entry.mask, masks)
    for name in objectives:
        if 'loss' in name:
            # mmengine back-propagates every entry whose name contains 'loss', accuracies included.
            raise TableError(f"objective '{name}': a name must not contain 'loss'")


def check_groups(groups: Iterable[Iterable[str]], images: Iterable[str]) -> None:
    """Raise where `joint_views` has a name that no view or branch has, or one twice."""
    names = [name for group in groups for name in group]
    for name in names:
        check_reference('entry', 'joint_views', 'view', name, images)
    if len(set(names)) < len(names):
        raise TableError(f'joint_views has a view twice ({listed(names)}); each passes once')


def ordered(names: Iterable[str], reads: Callable[[str], Iterable[str]]) -> list[str]:
    """Names sorted so that each comes after those it reads; a cycle is an error that shows it.

    Args:
        names: the views of the table.
        reads: name -> the views of the table that it reads.
    """
    done: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in path:
            circle = ' -> '.join([*path[path.index(name):], name])
            raise TableError(f'views read each other in a circle: {circle}; a view can only read '
                             'branches of the data set and views that do not read it')
        path.append(name)
        for other in reads(name):
            visit(other)
        done.append(path.pop())

    for name in names:
        visit(name)
    return done


def needed(views: Mapping, order: list[str], wanted: Iterable[str], progress: Progress) -> tuple[list, list]:
    """Views that this step needs, in order, and the masks that they use.

    A view that switches between others reads only one of them at a time.
    """
    names = set(wanted)
    for name in reversed(order):  # readers come after what they read
        if name in names:
            names.update(views[name].reads_at(progress))
    used = [name for name in order if name in names]
    return used, list(dict.fromkeys(views[name].mask for name in used if views[name].mask))
