"""docs/protocols.md: each value that it calls resolved is what the config resolves to."""

import ast
import re
from functools import cache

import pytest

from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.resolved_config import resolve, values
from tests.tools_runner import ROOT

ROWS = [[cell.strip().strip('`') for cell in line.strip('|').split('|')]
        for line in (ROOT / 'docs/protocols.md').read_text().splitlines() if line.startswith('| ') and '`' in line]


@cache
def resolved(name):
    return values(resolve(load_config(str(ROOT / f'configs/{name}.py'))))


def value_at(node, key):
    """The value at a key such as `pipeline[Resize].scale`; `[3]` is the third element."""
    for part in re.findall(r'\w+|\[\w+\]', key):
        name = part.strip('[]')
        if name == part:
            node = node[name]
        else:
            node = node[int(name) - 1] if name.isdecimal() else next(item for item in node if item['type'] == name)
    return node


def test_rows_are_complete():
    assert len(ROWS) > 80
    assert {row[1].split('/')[0] for row in ROWS} == {'dacs', 'camix', 'rccr', 'dsp', 'daformer', 'mic', 'hrda', 'vfm'}
    assert [row for row in ROWS if len(row) != 6 or not row[4] or not row[5].startswith(('paper', 'code: '))] == []


@pytest.mark.parametrize(('config', 'key', 'value'), [row[1:4] for row in ROWS],
                         ids=[f'{row[1]}-{row[2]}' for row in ROWS])
def test_resolved_values(config, key, value):
    assert value_at(resolved(config), key) == ast.literal_eval(value)
