"""What all command lines share."""

import sys
from argparse import ArgumentParser, ArgumentTypeError

import pytest
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch._utils import ExceptionWrapper

from mmseg_camix import cli
from mmseg_camix.datasets.paired import SampleError


def package_error(module):
    """An error as `module` defines them."""
    return type('PackageError', (RuntimeError,), dict(__module__=module))('known')


def outcome(error=None, code=None):
    """Exit code of a tool whose main raises ``error`` or returns ``code``."""
    def main():
        if error is not None:
            raise error
        return code
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code


def build(a):
    """An object whose arguments a config gives."""
    return a


def type_error(function, **arguments):
    with pytest.raises(TypeError) as caught:
        function(**arguments)
    return caught.value


def error_of_a_worker():
    """What a DataLoader raises where a data set has raised in a worker: the message holds the worker's stack trace."""
    try:
        raise SampleError('a.png: wrong\n  (while loading it)') from OSError('a.png')
    except SampleError:
        wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(SampleError) as caught:
        wrapped.reraise()
    return caught.value


@pytest.mark.parametrize(('error', 'message'), [
    (error_of_a_worker(), 'error: a.png: wrong (while loading it)'),
    (OSError(2, 'No such file', 'a\x1b[2J'), 'error: a\\x1b[2J: No such file'),
    (ValueError('a\x1b]0;b\x07 is wrong'), 'error: a\\x1b]0;b\\x07 is wrong (--debug shows the stack trace)'),
    (ValueError('a is wrong'), 'error: a is wrong (--debug shows the stack trace)'),
    (ValueError('two\n  lines'), 'error: two lines (--debug shows the stack trace)'),
    (package_error('mmseg_camix.somewhere'), 'error: known'),
    (package_error('mmseg_camix_tools.somewhere'), 'error: known'),
    (KeyError("'x' is not registered"), "error: KeyError: 'x' is not registered (--debug shows the stack trace)"),
    (type_error(build, a=1, momentum=0.9), "error: TypeError: build() got an unexpected keyword argument 'momentum'. "
     "If 'momentum' comes from a _base_ config, replace the base's entry with _delete_=True beside the new type "
     '(--debug shows the stack trace)'),
    (type_error(BaseModule, in_channels=[1]), "error: TypeError: BaseModule.__init__() got an unexpected keyword "
     "argument 'in_channels'. A class of the model needs a package that is not installed: mmdet for "
     '(Mask2)MaskFormerHead (--debug shows the stack trace)'),
    (FileNotFoundError(2, 'No such file or directory', 'a.py'), 'error: a.py: No such file or directory'),
    (SystemExit('stop'), 'error: stop'),
    (SystemExit('error: stop'), 'error: stop'),
    (KeyboardInterrupt(), 130)])
def test_known_errors_end_in_one_line(error, message):
    assert outcome(error) == message


@pytest.mark.parametrize(('name', 'some', 'absent'), [
    ('SGD', {'lr', 'momentum'}, {'self'}),
    ('IterBasedTrainLoop', {'max_iters'}, {'kwargs'}),
    ('Nothing', set(), set())])
def test_arguments_of_a_registered_class(name, some, absent):
    arguments = cli.arguments_of(name)
    assert some <= arguments
    assert not arguments & absent


def test_exit_codes():
    assert [outcome(code=code) for code in (None, 0, 3)] == [0, 0, 3]


def test_defects_and_debugged_errors_keep_their_trace(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)
    monkeypatch.setattr(sys, 'argv', ['tool', '--debug'])
    with pytest.raises(ValueError, match='wrong'):
        cli.run(lambda: int('wrong'))


def test_the_trace_goes_to_the_log_file(tmp_path):
    MMLogger.get_instance('test_cli', log_file=str(tmp_path / 'log'))
    outcome(package_error('mmseg_camix.somewhere'))
    text = (tmp_path / 'log').read_text()
    assert 'Traceback' in text
    assert 'PackageError: known' in text


@pytest.mark.parametrize(('name', 'hint'), [
    ('DACSS', "; did you mean 'DACS'?"), ('alfa', "; did you mean 'alpha'?"), ('Camix', "; did you mean 'CAMix'?"),
    ('other', '')])
def test_near_misses(name, hint):
    assert cli.did_you_mean(name, ['DACS', 'CAMix', 'alpha']) == hint


def test_columns_are_as_wide_as_their_longest_cell():
    assert cli.aligned([('a', 'bcd', 'x'), ('long', '', 'y'), ('c', 'd', '')]) == 'a     bcd  x\nlong       y\nc     d'


@pytest.mark.parametrize(('text', 'value'), [
    ('a b', 'a b'), ('/data/my  set', '/data/my  set'), ('"a b"', 'a b'), (' 5 ', 5), ('1e-3', 0.001), ('true', True),
    ('None', None), ('a, b', ['a', 'b']), ('[traffic light, bus]', ['traffic light', 'bus']),
    ('(1, 2)', (1, 2)), ('[(1, a b), [2]]', [(1, 'a b'), [2]]), ('', ''), ('a=b', 'a=b')])
def test_values_of_options(text, value):
    assert cli.parse_value(text) == value


def parse(*arguments):
    parser = ArgumentParser(prog='tool')
    cli.add_config_options(parser)
    return parser.parse_args(arguments)


def test_options_accumulate():
    args = parse('--cfg-options', 'a.b=1', 'root=my data', '--cfg-options', 'c=x')
    assert args.cfg_options == {'a.b': 1, 'root': 'my data', 'c': 'x'}
    assert not args.debug
    assert parse('--debug').cfg_options is None


@pytest.mark.parametrize(('option', 'message'), [
    ('lr', "'lr' has no '='; write KEY=VALUE"), ('=1', "'=1' has no '='"),
    ('a=[1,(2]', "the brackets of 'a=[1,(2]' do not match")])
def test_options_that_cannot_be_read(option, message, capsys):
    with pytest.raises(SystemExit) as end:
        parse('--cfg-options', option)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('read', 'text', 'value', 'wrong', 'message'), [
    (cli.positive_int, '12', 12, ('0', '-1', 'x', '1.5', ''), 'must be a whole number of at least 1'),
    (cli.positive_float, '0.75', 0.75, ('0', '-1', 'x', 'nan', 'inf'), 'must be a number above 0')])
def test_positive_numbers(read, text, value, wrong, message):
    assert read(text) == value
    for text in wrong:
        with pytest.raises(ArgumentTypeError, match=message):
            read(text)
