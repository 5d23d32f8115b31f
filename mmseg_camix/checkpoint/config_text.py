"""Configs as text, read and written as data.

mmengine writes configs as Python code and runs that code to read it. But what it writes is data: names to which
numbers, text, lists and ``dict(...)`` are assigned. Only that is read and written here.
"""

import ast
import keyword
from collections.abc import Mapping
from pprint import pformat
from typing import Any

from .errors import CheckpointError, describe, describe_error

_NUMBERS = {'inf': float('inf'), 'nan': float('nan')}
_ADVICE = 'If you trust it, give the config as a file, with --config'
# Characters; the config of a training has some 20,000. The parser takes up to 500 bytes for each.
_LONGEST = 200_000


class _NotData(ValueError):
    """Raised for an expression that is more than data."""


def checkpoint_config(checkpoint: Any, name: str = 'the checkpoint') -> dict[str, Any]:
    """The config that a training stored in its checkpoint.

    Raises:
        CheckpointError: there is none, or it is more than data; says what to do.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    text = meta.get('cfg') or meta.get('config_text')
    if not isinstance(text, str):
        raise CheckpointError(f'{name} contains no config. Give the config as a file, with --config')
    return parse_config(text, name)


def parse_config(text: str, name: str = 'the config') -> dict[str, Any]:
    """Parse the text of a config, as :func:`format_config` or mmengine write it.

    Raises:
        CheckpointError: it contains more than data (calls, imports, ...); names the line.
    """
    if len(text) > _LONGEST:
        raise CheckpointError(f'the config in {name} has {len(text)} characters, more than {_LONGEST}. {_ADVICE}')
    try:
        return dict(_assignment(statement) for statement in ast.parse(text).body)
    except _NotData as error:
        raise CheckpointError(f'the config in {name} is more than data: {error}. {_ADVICE}') from None
    except (SyntaxError, TypeError, ValueError, KeyError, RecursionError, MemoryError) as error:
        raise CheckpointError(f'the config in {name} cannot be read ({describe_error(error)}). {_ADVICE}') from None


def format_config(config: Mapping[str, Any]) -> str:
    """A config as Python code of assignments, which :func:`parse_config` reads back.

    Raises:
        CheckpointError: it contains something other than data, or a key that is no identifier.
    """
    _refuse_other_keys(config)
    text = ''.join(f'{key} = {pformat(value, width=110, sort_dicts=False)}\n' for key, value in config.items())
    text = without_templates(text)
    if parse_config(text) != config:
        raise CheckpointError('the config does not read back as it was written')
    return text


def without_templates(text: str) -> str:
    """The code of a config with every `{{` in its strings and comments written as an escape.

    mmengine replaces `{{$NAME:value}}` in the text of a config file before it runs it, across the ends of strings, so
    that the names of two classes suffice to write code between them.
    """
    return text.replace('{{', r'{\x7b')


def _refuse_other_keys(node: Any) -> None:
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str) or not key.isidentifier() or keyword.iskeyword(key):
                raise CheckpointError(f'the config has the key {describe(key)}, which is no identifier')
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            _refuse_other_keys(item)


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, _value(statement.value)
    raise _NotData(_where(statement))


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Set(elts=items):
            return {_value(item) for item in items}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_value(key): _value(value) for key, value in zip(keys, values)}
        case ast.Call(func=ast.Name(id='dict'), args=positional, keywords=keywords):
            return _dict(node, positional, keywords)
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(number := _value(operand), (int, float)):
            return -number
        case ast.Name(id=name) if name in _NUMBERS:
            return _NUMBERS[name]
    raise _NotData(_where(node))


def _dict(node: ast.Call, positional: list[ast.expr], keywords: list[ast.keyword]) -> dict:
    """``dict(a=1)``, or ``dict({'a b': 1})``, which mmengine writes where keys are no identifiers."""
    base = _value(positional[0]) if len(positional) == 1 else {}
    if len(positional) > 1 or not isinstance(base, dict) or any(keyword.arg is None for keyword in keywords):
        raise _NotData(_where(node))
    return {**base, **{keyword.arg: _value(keyword.value) for keyword in keywords}}


def _where(node: ast.AST) -> str:
    return f'line {node.lineno} has `{" ".join(ast.unparse(node).split())[:60]}`'
