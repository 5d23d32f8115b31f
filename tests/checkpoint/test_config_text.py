"""The config inside a checkpoint: read as data, never run."""

import math

import pytest
import torch
from mmengine.config import Config

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.config_text import checkpoint_config, format_config, parse_config, without_templates
from tests.tools_runner import ROOT

CONFIGS = sorted(ROOT.glob('configs/*/*gta2cs*.py'))[::5]  # reading one takes a while


def test_configs_of_the_project_come_back():
    assert len(CONFIGS) > 4
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        assert parse_config(cfg.pretty_text) == cfg.to_dict(), path


def test_all_kinds_of_data_come_back():
    cfg = Config(dict(
        none=None, yes=True, number=-3, small=1e-05, infinite=float('inf'), words="it's\n\"this\"", nothing=(),
        nested=[(1, [2, dict(a=-0.5)]), ()], keys={'a b': 1, 'c': {'d-e': [dict(x=1)]}}, some={1, 2}, raw=b'\x00'))
    assert parse_config(cfg.pretty_text) == cfg.to_dict()
    assert math.isnan(parse_config('x = nan')['x'])


@pytest.mark.parametrize('text', [
    "import os",
    "x = __import__('os').system('touch {file}')",
    "x = open('{file}', 'w')",
    "x = [open('{file}', 'w') for _ in [0]]",
    "x = dict(a=open('{file}', 'w'))",
    "x = dict(**open('{file}', 'w'))",
    "x = dict([('a', 1)])",
    "x = {{**dict(a=1)}}",
    "x = f'{{1}}'",
    "x = lambda: 1",
    "x = y",
    "x = -'a'",
    "x.y = 1",
    "x = y = 1",
    "x += 1",
    "if True:\n    x = 1",
    "@print\nclass A: pass",
    "x = (",
    "x = {{[]: 1}}",
    "x = " + "(" * 5000 + ")" * 5000,
    "x = " + "-" * 3000 + "1",
    "_base_ = '{file}.py'",
])
def test_more_than_data(text, tmp_path):
    file = tmp_path / 'was_run'
    if '_base_' in text:  # a file that would be run; here it is a name as any other
        (tmp_path / 'was_run.py').write_text(f"open('{file}', 'w')")
        assert parse_config(text.format(file=file))['_base_'] == f'{file}.py'
    else:
        with pytest.raises(CheckpointError, match=r'the config in bad.pth .*--config'):
            parse_config(text.format(file=file), 'bad.pth')
    assert not file.exists()


def test_a_written_config_is_no_template(tmp_path, monkeypatch):
    """mmengine replaces `{{$NAME:value}}` in the text of a config, and then runs it: also from string to string."""
    monkeypatch.chdir(tmp_path)
    names = ['{{$NO_SUCH:', '}}__import__("os").mkdir("trace"),', ',"b"]}#', '{{{{ fileDirname }}', r'\{{$NO_SUCH:a}}']
    content = dict(model=dict(classes=names))
    text = format_config(content)
    (tmp_path / 'config.py').write_text(without_templates('# {{$NO_SUCH:a}}\n') + text)
    assert Config.fromfile(tmp_path / 'config.py').to_dict() == content == parse_config(text)
    assert not (tmp_path / 'trace').exists()
    (tmp_path / 'config.py').write_text(f'model = {dict(classes=names[:3])}\n')  # the control
    Config.fromfile(tmp_path / 'config.py')
    assert (tmp_path / 'trace').exists()


def test_where_the_config_is_and_which_line_is_wrong():
    with pytest.raises(CheckpointError, match=r'line 2 has `print\(1\)`'):
        parse_config('a = 1\nb = dict(c=print(1))')
    assert checkpoint_config(dict(meta=dict(cfg='a = 1'))) == dict(a=1)
    assert checkpoint_config(dict(meta=dict(config_text='a = 2'))) == dict(a=2)


@pytest.mark.parametrize('checkpoint', [
    {}, dict(meta=None), dict(meta={}), dict(meta=dict(cfg=3)), dict(meta=[1]), [1],
    dict(state_dict=dict(a=torch.ones(1)))])
def test_no_config_inside(checkpoint):
    with pytest.raises(CheckpointError, match='x.pth contains no config'):
        checkpoint_config(checkpoint, 'x.pth')
