"""The config that a checkpoint carries, read without running it.

mmengine writes configs as Python code, and would run that code to read it. But what it writes is
data: names to which numbers, text, lists and ``dict(...)`` are assigned. Only that is understood here.
"""

from __future__ import annotations

import ast
from typing import Any

from mmengine.config import Config

from .errors import CheckpointError

_NUMBERS = {'inf': float('inf'), 'nan': float('nan')}
_ADVICE = 'Give the config as a file, with --config, if you trust it'


class _NotData(ValueError):
    """Raised for an expression that is more than data."""


def checkpoint_config(checkpoint: dict[str, Any], name: str = 'the checkpoint') -> Config:
    """The config that a training left in its checkpoint.

    Raises:
        CheckpointError: there is none, or it is more than data; says what to do.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    text = meta.get('cfg') or meta.get('config_text')
    if not isinstance(text, str):
        raise CheckpointError(f'{name} carries no config. Give the config as a file, with --config')
    return parse_config(text, name)


def parse_config(text: str, name: str = 'the config') -> Config:
    """A config from the text that mmengine makes of one.

    Raises:
        CheckpointError: it holds more than data (calls, imports, ...); names the line.
    """
    try:
        statements = ast.parse(text).body
        return Config(dict(_assignment(statement) for statement in statements))
    except _NotData as error:
        raise CheckpointError(f'the config in {name} is more than data: {error}. {_ADVICE}') from None
    except (SyntaxError, TypeError, ValueError, KeyError, RecursionError, MemoryError) as error:
        raise CheckpointError(f'the config in {name} cannot be read ({type(error).__name__}: {error}). '
                              f'{_ADVICE}') from None


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
