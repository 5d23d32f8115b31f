"""The resolved configuration: a config with the defaults of its method and of all classes that it names."""

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from mmseg_camix.cli import registries
from mmseg_camix.files import atomic_write
from mmseg_camix.models import UDASegmentor
from mmseg_camix.models.pseudo_labels import ClassQuota, DistributionAlignment
from mmseg_camix.models.significance import SignificanceMask
from mmseg_camix.models.teacher import EMATeacher
from mmseg_camix.models.uda.acceleration import accelerate
from mmseg_camix.models.uda.tables import merge_method
from mmseg_camix.ops.augment import StrongAugment
from mmseg_camix.ops.schedules import SCHEDULES
from mmseg_camix.version import __version__

from .config import OPTIONAL_ENTRIES, complete_for_adaptation, is_adapted

FILE = 'resolved_config.py'
HEADER = """# The resolved configuration of {}, with the origin of each value:
#   config            the config file, or its _base_ files
#   --cfg-options     the command line
#   added             completed for adaptation when training starts
#   default of NAME   default of the method or the class NAME
# For reading and comparing; train with the config itself.
"""
TABLES = ('masks', 'views', 'objectives')
SINGLE = ('pseudo_labels', 'teacher', 'augment')
# Arguments of an adapted model that are dicts without a type, and the class or function that receives them.
UNTYPED: dict[tuple[str, ...], Callable] = {
    ('teacher',): EMATeacher, ('augment',): StrongAugment, ('acceleration',): accelerate,
    ('pseudo_labels', 'significance'): SignificanceMask, ('pseudo_labels', 'align'): DistributionAlignment,
    ('pseudo_labels', 'quota'): ClassQuota}
# Arguments that the model passes itself.
PASSED: dict[Any, tuple[str, ...]] = {StrongAugment: ('mean', 'std', 'channel_order')}
COMMENT_COLUMN = 72
_MISSING: Any = object()


@dataclass(frozen=True)
class Entry:
    """A value and its origin; the value of a dict or of a list of dicts consists of entries."""

    value: Any
    origin: str


def resolve(cfg: Config, options: Mapping[str, Any] | None = None) -> dict[str, Entry]:
    """The entries of a config as its training will use them.

    Args:
        cfg: result of load_config; not changed.
        options: entries set by ``--cfg-options``.
    """
    completed = Config(cfg.to_dict())
    complete_for_adaptation(completed)
    return {key: _Resolver(cfg, tuple(options or {})).entry((key,), value, cfg.get(key, _MISSING), 'added')
            for key, value in completed.items() if key in OPTIONAL_ENTRIES or key.endswith('_dataloader')
            or key in ('data_root', 'crop_size')}


class _Resolver:
    def __init__(self, cfg: Config, options: Sequence[str]) -> None:
        self.adapted = is_adapted(cfg)
        self.options = options

    def entry(self, path: tuple[str, ...], value: Any, given: Any, fallback: str) -> Entry:
        """An entry with its origin.

        Args:
            path: keys that lead to it.
            value: as it will be used.
            given: its value in the config, or _MISSING.
            fallback: origin of values that the config does not have.
        """
        if isinstance(value, Mapping) and value:
            return Entry(self._arguments(path, value, given, fallback), fallback)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            others = list(given) if isinstance(given, (list, tuple)) else []
            others += [_MISSING] * (len(value) - len(others))
            return Entry([self.entry((*path, str(i)), item, other, fallback)
                          for i, (item, other) in enumerate(zip(value, others))], fallback)
        if given is _MISSING:
            return Entry(value, fallback)
        name = '.'.join(path)
        chosen = any(name == option or name.startswith(f'{option}.') for option in self.options)
        return Entry(value, '--cfg-options' if chosen else 'config')

    def _arguments(self, path: tuple[str, ...], value: Mapping, given: Any, fallback: str) -> dict[str, Entry]:
        given = given if isinstance(given, Mapping) else {}
        cls = class_of(value.get('type'), path) if 'type' in value else None
        if path == ('model',) and self.adapted:
            value, fallback = merged_with_method(cls, value), f'default of {cls.__name__}'
        elif cls is None and self.adapted and path[0] == 'model':
            cls = UNTYPED.get(path[-1:] if path[1] == 'views' else path[1:])  # views may have an augmentation each
        entries = {key: self.entry((*path, key), item, given.get(key, _MISSING), fallback)
                   for key, item in value.items() if key != '_delete_'}
        origin = f'default of {getattr(cls, "__name__", "")}'
        for name, default in default_arguments(cls):
            if name not in value and name not in PASSED.get(cls, ()):
                entries[name] = self.entry((*path, name), default, _MISSING, origin)
        return entries


def merged_with_method(method: type[UDASegmentor], model: Mapping) -> dict[str, Any]:
    """The arguments of an adapted model with the defaults of its method."""
    defaults = method.defaults
    merged = merge_method(defaults, {name: model.get(name) for name in TABLES},
                          {name: model.get(name) for name in SINGLE})
    if 'pseudo_labels' in merged:
        merged['pseudo_labels'] = {'type': 'PseudoLabels', **merged['pseudo_labels']}
        merged.setdefault('teacher', {})
    merged.setdefault('augment', {})
    others = {'predict_with': 'student', 'branches': ('source', 'target'), 'joint_views': (),
              **{name: value for name, value in defaults.items() if name not in merged and name not in SINGLE}}
    given = {name: value for name, value in model.items() if value is not None or name not in others}
    return {'type': model['type'], **merged, **others, 'acceleration': model.get('acceleration') or {},
            **{name: value for name, value in given.items() if name not in merged}}


def class_of(kind: Any, path: Sequence[str]) -> Any:
    """The class or function that a `type` in a config names; None if none of that name is registered."""
    if not isinstance(kind, str):
        return kind
    name = kind.rsplit('.', 1)[-1]
    if path[0] == 'model' and name in SCHEDULES:
        return SCHEDULES[name]
    for registry in _registries(path):
        if name in registry.module_dict:
            return registry.module_dict[name]
    return None


def _registries(path: Sequence[str]) -> Iterator[Registry]:
    """Registries in the order in which a type at this place is looked up."""
    if 'pipeline' in path or 'transforms' in path or path[:2] in (('model', 'masks'), ('model', 'views')):
        first = [TRANSFORMS]
    else:
        first = [MODELS] if path[0] == 'model' else [DATASETS] if 'dataset' in path else []
    for registry in first:
        yield registry
        yield registry.parent
    yield from registries()


def default_arguments(cls: Any) -> Iterator[tuple[str, Any]]:
    """Names and defaults of the arguments of a class or function, including those that it passes to its bases.

    Defaults of None of other packages' classes are omitted: they usually mean "not used".
    """
    own = getattr(cls, '__module__', '').startswith('mmseg_camix')
    names: set[str] = set()
    for parameters in _constructors(cls):
        for name, parameter in parameters.items():
            left_out = name in names or parameter.default is parameter.empty
            if not left_out and (own or parameter.default is not None):
                yield name, parameter.default
            names.add(name)


def _constructors(cls: Any) -> Iterator[Mapping[str, inspect.Parameter]]:
    """Signatures of a class and of those bases that receive its ``**kwargs``."""
    if cls is None:
        return
    functions = [base.__dict__['__init__'] for base in cls.__mro__ if '__init__' in base.__dict__] if isinstance(
        cls, type) else [cls]
    for function in functions:
        try:
            parameters = inspect.signature(function).parameters
        except ValueError:  # written in C
            return
        yield parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return


def values(entries: Any) -> Any:
    """Entries as plain dicts, lists, numbers and strings."""
    if isinstance(entries, Entry):
        return values(entries.value)
    if isinstance(entries, dict):
        return {key: values(entry) for key, entry in entries.items()}
    if isinstance(entries, (list, tuple)):
        return type(entries)(values(entry) for entry in entries)
    return entries if entries is None or isinstance(entries, (bool, int, float, str)) else str(entries)


def render(entries: Mapping[str, Entry], name: str) -> str:
    """Entries as Python, the origin of each value in a comment.

    Args:
        entries: result of :func:`resolve`.
        name: of the config, for the header.
    """
    lines = [HEADER.format(name)]
    for key, entry in entries.items():
        same = next((other for other in entries if entries[other] == entry), key)
        lines += [f'{key} = {same}'] if same != key and isinstance(entry.value, dict) else _lines(
            f'{key} = ', entry, '', '')
    return '\n'.join(lines) + '\n'


def _lines(prefix: str, entry: Entry, indent: str, end: str) -> list[str]:
    value = entry.value
    if isinstance(value, dict) and value:
        names = all(isinstance(key, str) and key.isidentifier() for key in value)
        inner = [line for key, item in value.items()
                 for line in _lines(f'{key}=' if names else f'{key!r}: ', item, indent + '    ', ',')]
        opening, closing = ('dict(', ')') if names else ('{', '}')
        return [f'{indent}{prefix}{opening}', *inner, f'{indent}{closing}{end}']
    if isinstance(value, list) and value and isinstance(value[0], Entry):
        inner = [line for item in value for line in _lines('', item, indent + '    ', ',')]
        return [f'{indent}{prefix}[', *inner, f'{indent}]{end}']
    return [f'{indent}{prefix}{_literal(value)}{end}'.ljust(COMMENT_COLUMN) + f'  # {entry.origin}']


def _literal(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        items = [_literal(item) for item in value]
        return f'[{", ".join(items)}]' if isinstance(value, list) else (
            f'({", ".join(items)}{"," * (len(items) == 1)})')
    if isinstance(value, dict) and not value:
        return 'dict()'
    plain = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and value == value
                                                                     and abs(value) != float('inf'))
    return repr(value) if plain else repr(str(value))


def command_line() -> str:
    """The command of this process, as it can be given to a shell."""
    program, *arguments = sys.argv
    start = program.split() if program.startswith('mmseg-camix ') else [Path(sys.executable).name, program]
    return shlex.join([*start, *arguments])


def record(runner: Runner, cfg: Config, options: Mapping[str, Any] | None, name: str) -> None:
    """Write the resolved configuration into the work folder, and log it to TensorBoard and Weights & Biases.

    The command line is logged, too.

    Args:
        runner: of the training that is about to start.
        cfg: result of load_config.
        options: entries set by ``--cfg-options``.
        name: of the config, for the header.
    """
    if runner.rank != 0:
        return
    print_log(f'Command (mmseg_camix {__version__}): {command_line()}', 'current')
    entries = resolve(cfg, options)
    atomic_write(Path(runner.work_dir) / FILE, render(entries, name))
    logged = Config(dict(resolved=values(entries)))
    for backend in runner.visualizer._vis_backends.values():
        if not isinstance(backend, LocalVisBackend):
            backend.add_config(logged)
