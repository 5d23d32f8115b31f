"""What all command lines share: errors in one line, ``--debug``, and ``--cfg-options``.

A tool ends with ``run(main)``; its parser is completed by :func:`add_debug` or :func:`add_config_options`.
"""

import inspect
import logging
import re
import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from math import inf
from typing import Any, NoReturn

import mmengine.registry
from mmengine.config import DictAction
from mmengine.logging import MMLogger
from mmengine.registry import Registry

from .files import printable

# Errors of these kinds come from what the user gave: options, configs, files. So do those that the package defines.
USER_ERRORS = (ValueError, TypeError, KeyError, OSError, ImportError, NotImplementedError)
OWN_PACKAGES = ('mmseg_camix.', 'mmseg_camix_tools.')
_BLANK = '\x00'  # replaces the blanks of a value while mmengine parses it, which would remove them


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call ``main`` and exit: with the code that it returns, or with 1 and one line about a known error.

    The stack trace of a known error goes to the log file of the run; ``--debug`` raises the error instead. Errors of
    other kinds are defects of the program and keep their trace.
    """
    debug = '--debug' in sys.argv[1:]
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        if debug:
            raise
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if debug or not is_user_error(error):
            raise
        log_trace(error)
        sys.exit(f'error: {describe(error)}')
    except SystemExit as end:
        if isinstance(end.code, str) and not end.code.startswith('error: '):
            sys.exit(f'error: {printable(end.code)}')
        raise


def is_user_error(error: BaseException) -> bool:
    """Whether the error is about options, configs or files, and not a defect of the program."""
    return isinstance(error, USER_ERRORS) or type(error).__module__.startswith(OWN_PACKAGES)


def describe(error: BaseException) -> str:
    """The error as one line: what is wrong, where, and what to do where that is known."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f'{error.filename}: {error.strerror}')
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if match := re.match(r'Caught (\w+) in DataLoader worker process \d+\.\n', text):  # the worker's trace follows
        text = re.split(rf'^(?:[\w.]+\.)?{match[1]}: ', text, flags=re.MULTILINE)[-1]
    text = ' '.join(text.split()).rstrip('.') or type(error).__name__
    if match := re.match(r'(\S+) is not in the (\S+) registry', text):
        return f"there is no {match[2].split('::')[-1]} of type '{match[1]}'" + (
            did_you_mean(match[1], registered_names()) or '; list the package that defines it in custom_imports')
    if (match := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)) and (
            hint := did_you_mean(match[2], arguments_of(match[1]))):
        return f"{match[1]} has no argument '{match[2]}'{hint} (--debug shows the stack trace)"
    if text.startswith('BaseModule.__init__() got an unexpected'):  # what mmseg's heads then derive from
        text += '. A class of the model needs a package that is not installed: mmdet for (Mask2)MaskFormerHead'
    elif match := re.search(r"unexpected keyword argument '(\w+)'", text):
        text += (f". If '{match[1]}' comes from a _base_ config, replace the base's entry with _delete_=True beside "
                 'the new type')
    if type(error).__module__ == 'builtins' and not isinstance(error, ValueError):
        text = f'{type(error).__name__}: {text}'
    if not type(error).__module__.startswith(OWN_PACKAGES):
        text += ' (--debug shows the stack trace)'
    return printable(text)  # names may come from files


def registered_names() -> set[str]:
    """All names that a `type` in a config can have."""
    return {name for registry in registries() for name in registry.module_dict}


def arguments_of(name: str) -> set[str]:
    """The arguments of the registered class of this name; none where there is no such class."""
    classes = [registry.module_dict.get(name) for registry in registries()]
    return {argument for cls in classes if isinstance(cls, type)
            for argument in inspect.signature(cls.__init__).parameters} - {'self', 'args', 'kwargs'}


def registries() -> list[Registry]:
    """mmengine's registries, each followed by those of other packages that extend it."""
    roots = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    return [registry for root in roots for registry in (root, *root.children.values())]


def log_trace(error: BaseException) -> None:
    """Write the stack trace of an error to the log file, if the run has opened one."""
    trace = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    logger = MMLogger.get_current_instance()
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(logging.LogRecord(logger.name, logging.ERROR, __file__, 0, trace, None, None))


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A hint to append to an error, "; did you mean 'alpha'?", or nothing where no valid name is close."""
    names = {known.lower(): known for known in valid}
    close = get_close_matches(name.lower(), names, n=1)
    return f"; did you mean '{names[close[0]]}'?" if close else ''


def aligned(rows: Iterable[Iterable[str]]) -> str:
    """Lines of text, in columns as wide as their longest cell."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return '\n'.join('  '.join(map(str.ljust, row, widths)).rstrip() for row in cells)


def add_debug(parser: ArgumentParser) -> None:
    """Add ``--debug``, which :func:`run` reads."""
    parser.add_argument('--debug', action='store_true', help='show the stack trace of an error')


def add_config_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options`` and ``--debug``."""
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                        help='override entries of the config, e.g. train_cfg.max_iters=100; quote lists and blanks: '
                             '"crop_size=(256, 512)"')
    add_debug(parser)


class ConfigOptions(DictAction):
    """mmengine's KEY=VALUE options; a value keeps its blanks, and an option without '=' is refused."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: list[str],
                 option_string: str | None = None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for item in values:
            key, separator, value = item.partition('=')
            if not separator or not key:
                parser.error(f"{option_string}: '{item}' has no '='; write KEY=VALUE")
            try:
                options[key] = parse_value(value)
            except AssertionError:
                parser.error(f"{option_string}: the brackets of '{item}' do not match")
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value of an option as mmengine reads it (``a,b`` is a list), but with the blanks of a text kept."""
    compact = re.sub(r'\s*([,()\[\]])\s*', r'\1', text.strip())
    return _with_blanks(DictAction._parse_iterable(compact.replace(' ', _BLANK)))


def _with_blanks(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_with_blanks(item) for item in value)
    return value.replace(_BLANK, ' ') if isinstance(value, str) else value


def positive_int(text: str) -> int:
    """A number above 0, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"'{text}' must be a whole number of at least 1")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise ArgumentTypeError(f"'{text}' must be a number above 0")
    return value
