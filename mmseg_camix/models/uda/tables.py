"""The three tables of a method (masks, views, objectives): merged, checked, ordered.

Unknown names and types, references to views that do not exist, and cycles are errors when the model is built.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..building import Table, TableError, choices, listed
from ..step import Progress

Config = dict[str, Any]


def merge_method(defaults: Mapping[str, Any], tables: Mapping[str, Any], arguments: Mapping[str, Any]) -> Config:
    """A method's defaults, overridden by a config's tables and by its arguments of single parts."""
    cfg = {name: merge_table(defaults.get(name), table, name) for name, table in tables.items()}
    for name, given in arguments.items():
        default = defaults.get(name)
        if given is not None or default is not None:
            cfg[name] = merge_arguments(default or {}, given or {})
    return cfg


def merge_table(defaults: Mapping[str, Any] | None, overrides: Mapping[str, Any] | None,
                table: str = 'table') -> Config:
    """A table's defaults with overrides merged in, as OpenMMLab's configs do it.

    ``_delete_=True`` in an override replaces instead of merging, and so does another ``type`` (the arguments of one
    class rarely suit another). An entry set to None is removed.
    """
    result = copy.deepcopy(dict(defaults or {}))
    for name, entry in (overrides or {}).items():
        if isinstance(entry, Mapping):
            if name not in result and 'type' not in entry:
                raise TableError(f"{table}: '{name}' is a new entry and needs a dict with `type`; got {dict(entry)}, "
                                 f'which could only override a default entry{choices(name, result)}')
            entry = merge_arguments(result.get(name) or {}, entry)
        result[name] = entry
    return {name: entry for name, entry in result.items() if entry is not None}


def merge_arguments(known: Mapping[str, Any], given: Mapping[str, Any]) -> Config:
    """Arguments of one class merged, dicts within dicts too; a value of None stays an argument.

    Another ``type`` replaces at every depth, for example that of a schedule.
    """
    merges = not given.get('_delete_', False) and given.get('type', known.get('type')) == known.get('type')
    result = copy.deepcopy(dict(known)) if merges else {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            inner = result.get(name)
            value = merge_arguments(inner if isinstance(inner, Mapping) else {}, value)
        if name != '_delete_':
            result[name] = value
    return result


def check_references(masks: Table[Any], views: Table[Any], objectives: Table[Any], branches: Iterable[str]) -> None:
    """Raise if an entry reads a branch, mask or view that does not exist, or has a name that is not allowed."""
    branches = list(branches)
    if not objectives:
        raise TableError('a method needs at least one objective, e.g. '
                         "objectives=dict(source=dict(type='SupervisedLoss'))")
    for name in objectives:
        if 'loss' in name:
            # mmengine back-propagates every entry whose name contains 'loss', accuracies included.
            raise TableError(f"objective '{name}': a name must not contain 'loss'")
    for name in views:
        if name in branches:
            raise TableError(f"view '{name}' has the name of a branch of the data set; choose another")
    images = [*branches, *views]
    for kind, table, valid in (('mask', masks, branches), ('view', views, images), ('objective', objectives, images)):
        for name, entry in table.items():
            for other in entry.reads:
                _check_reference(kind, name, 'branch' if kind == 'mask' else 'view', other, valid)
            if kind != 'mask' and entry.mask is not None:
                _check_reference(kind, name, 'mask', entry.mask, masks)


def check_groups(groups: Iterable[Iterable[str]], images: Iterable[str]) -> None:
    """Raise if `joint_views` has a name that no view or branch has, or a name twice."""
    images, names = list(images), [name for group in groups for name in group]
    for name in names:
        _check_reference('entry', 'joint_views', 'view', name, images)
    if len(set(names)) < len(names):
        raise TableError(f'joint_views has a view twice ({listed(names)}); each passes once')


def _check_reference(kind: str, name: str, what: str, wanted: str, valid: Iterable[str]) -> None:
    valid = list(valid)
    if wanted not in valid:
        raise TableError(f"{kind} '{name}' reads {what} '{wanted}', which is not defined{choices(wanted, valid)}")


def ordered(names: Iterable[str], reads: Callable[[str], Iterable[str]]) -> list[str]:
    """Names sorted so that each comes after those it reads; a cycle is an error that shows it."""
    done: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in path:
            cycle = ' -> '.join([*path[path.index(name):], name])
            raise TableError(f'views read each other in a cycle: {cycle}; a view can only read '
                             'branches of the data set and views that do not read it')
        path.append(name)
        for other in reads(name):
            visit(other)
        done.append(path.pop())

    for name in names:
        visit(name)
    return done


def needed(views: Table[Any] | Mapping[str, Any], order: list[str], wanted: Iterable[str],
           progress: Progress) -> tuple[list[str], list[str]]:
    """Views that this step needs, in order, and the masks that they use.

    A view that switches between others reads only one of them at a time.
    """
    names = set(wanted)
    for name in reversed(order):  # readers come after what they read
        if name in names:
            names.update(views[name].reads_at(progress))
    used = [name for name in order if name in names]
    return used, list(dict.fromkeys(views[name].mask for name in used if views[name].mask))
