"""The table of commands."""

import subprocess
import sys
from importlib import import_module
from unittest.mock import Mock

import pytest

from mmseg_camix_tools import commands
from tests.tools_runner import ROOT

SCRIPT = '''#!/usr/bin/env python
"""`mmseg-camix {name}`: {summary}."""
from mmseg_camix_tools.commands import run_command

if __name__ == '__main__':
    run_command('{name}')
'''


def answer(monkeypatch, capsys, *arguments):
    """(exit code or message, output) of `mmseg-camix ARGUMENTS`."""
    monkeypatch.setattr(sys, 'argv', ['mmseg-camix', *arguments])
    with pytest.raises(SystemExit) as end:
        commands.main()
    streams = capsys.readouterr()
    return end.value.code, streams.out + streams.err


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_each_command_has_a_module_with_main_and_names_itself(name, monkeypatch, capsys):
    assert callable(import_module(commands.COMMANDS[name][0], 'mmseg_camix_tools.commands').main)
    code, text = answer(monkeypatch, capsys, name, '--help')
    assert code == 0
    assert text.startswith(f'usage: mmseg-camix {name} ')
    assert len(text.splitlines()) > 8, 'a help that explains nothing'


def test_each_script_runs_a_command_of_the_table_with_its_summary():
    scripts = {SCRIPT.format(name=name, summary=summary) for name, (_, summary) in commands.COMMANDS.items()}
    assert [path.name for path in (ROOT / 'tools').rglob('*.py') if path.read_text() not in scripts] == ['demo.py']


@pytest.mark.parametrize('arguments', [(), ('--help',)])
def test_the_list_of_commands(monkeypatch, capsys, arguments):
    code, text = answer(monkeypatch, capsys, *arguments)
    assert code == 0
    assert all(f'\n  {name} ' in text and summary in text for name, (_, summary) in commands.COMMANDS.items())
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(('name', 'message'), [
    ('trian', "error: there is no command 'trian'; did you mean 'train'?"),
    ('xyz', "error: there is no command 'xyz'; there are: train, test, predict, ")])
def test_a_mistyped_command(monkeypatch, capsys, name, message):
    code, text = answer(monkeypatch, capsys, name, '--help')
    assert code == 2
    assert message in text


def test_the_list_and_the_quick_commands_do_not_import_torch():
    code = ('import atexit, sys; atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))\n'
            'from mmseg_camix_tools.commands import main; main()')
    done = subprocess.run([sys.executable, '-c', code, 'prepare', '--help'], capture_output=True, text=True, check=True)
    assert done.stderr == 'False\n'
    assert 'ROOT/defects.json' in done.stdout


@pytest.mark.parametrize('error', [ImportError('mmcv is not installed'), ImportError("No module named 'onnx'")])
def test_a_missing_package_is_one_line(monkeypatch, capsys, error):
    monkeypatch.setattr(commands, 'import_module', Mock(side_effect=error))
    assert answer(monkeypatch, capsys, 'train')[0] == f'error: {error} (--debug shows the stack trace)'
    monkeypatch.setattr(sys, 'argv', ['mmseg-camix', 'train', '--debug'])
    with pytest.raises(ImportError):
        commands.main()
