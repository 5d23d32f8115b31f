"""The guides: their configs build, the keys and results that they list exist, their messages are those of the code."""

import ast
import functools
import re
from unittest.mock import Mock

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_camix.engine.config import complete_for_adaptation, load_config
from mmseg_camix.models import UDASegmentor
from tests.models import tiny
from tests.tools_runner import ROOT

PAGES = {name: (ROOT / f'docs/{name}.md').read_text()
         for name in ('migrating', 'troubleshooting', 'choosing', 'benchmark')}
FILES = dict(re.findall(r'```python\n# (\w+\.py)\n(.*?)```', PAGES['migrating'], re.S))


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the table below a heading."""
    section = PAGES[page].split(f'{heading}\n', 1)[1].split('\n## ')[0].split('\n### ')[0]
    lines = [line for line in section.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('| ').split(' | ')] for line in lines]


# ------------------------------------------------------------------ migrating


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder with the files that the page shows."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(cfg: Config) -> UDASegmentor:
    """Build the model of a config, without files of weights, and MiT-B0 instead of larger ones."""
    cfg.model.segmentor.backbone.pop('init_cfg')
    if cfg.model.segmentor.backbone.type == 'MiT':
        cfg.model.segmentor.backbone.variant = 'b0'
        cfg.model.segmentor.decode_head.in_channels = [32, 64, 160, 256]
    return MODELS.build(cfg.model)


def test_all_code_of_the_page_is_a_file():
    assert list(FILES) == ['my_adaptation.py', 'for_mmseg_train.py', 'my_train.py', 'my_mic.py']
    assert PAGES['migrating'].count('```python') == len(FILES)


def test_a_config_of_mmseg(folder):
    cfg = load_config('my_adaptation.py')
    base = Config.fromfile(cfg.filename).model.segmentor
    source = cfg.train_dataloader.dataset.source
    assert (source.type, source.pipeline[-1].type) == ('CityscapesDataset', 'PackSegInputs')
    assert cfg.train_dataloader.dataset.target.pipeline[1].crop_size == (1024, 1024)
    model = build(cfg)
    assert type(model).__name__ == 'DACS'
    assert (model.num_classes, model.crop_size) == (base.decode_head.num_classes, (1024, 1024))


def test_the_config_for_mmseg_has_what_ours_adds(folder):
    cfg, completed = (load_config(name) for name in ('for_mmseg_train.py', 'my_adaptation.py'))
    complete_for_adaptation(completed)
    for key in ('custom_hooks', 'default_hooks', 'model'):
        assert cfg[key] == completed[key], key
    for key in ('val_cfg', 'test_cfg'):
        assert cfg[key].type == completed[key].type, key


def test_a_custom_script(folder, monkeypatch):
    monkeypatch.setattr(Runner, 'from_cfg', from_cfg := Mock())
    exec(FILES['my_train.py'], {})
    cfg = from_cfg.call_args.args[0]
    assert (cfg.custom_hooks, cfg.work_dir) == ([dict(type='UDAHook')], 'work_dirs/mine')
    from_cfg.return_value.train.assert_called_once()


def test_changes_of_mic(folder):
    cfg = load_config('my_mic.py')
    assert cfg.train_dataloader.batch_size == 4
    assert (cfg.train_dataloader.dataset.source.temperature, cfg.optim_wrapper.optimizer.lr) == (0.1, 1e-4)
    model = build(cfg)
    assert (model.teacher.alpha, model.pseudo_labels.threshold) == (0.9995, 0.95)
    assert (model.masks['blocks'].ratio, model.masks['blocks'].block) == (0.5, 64)
    assert 'features' not in model.objectives
    assert model.objectives['masked'].weight(0, 100) == 0.5


UDA = [(there, here) for there, here in rows('migrating', '### The dict `uda`')[1:] if re.match(r'`\w+=dict\(', here)]


@pytest.mark.parametrize(('there', 'here'), UDA, ids=[there for there, _ in UDA])
def test_entries_of_the_model(there, here):
    entry = eval(f'dict({re.match(r"`(.*?)`", here)[1]})')
    assert tiny.method('MIC', tiny.small(crop=(64, 64), num_classes=19), **entry)  # unknown arguments are errors


def test_enough_entries_were_compared():
    assert len(UDA) >= 12


# ------------------------------------------------------------------ troubleshooting


@functools.cache
def templates() -> list[str]:
    """All texts of the code, with `...` instead of values."""
    files = [file for package in ('mmseg_camix', 'mmseg_camix_tools') for file in (ROOT / package).rglob('*.py')]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return [text for node in nodes if (text := template(node))]


def template(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return ''.join(template(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return '...' if isinstance(node, (ast.FormattedValue, ast.Call, ast.IfExp)) else ''


def occurs(message: str) -> bool:
    pattern = re.compile('.*'.join(map(re.escape, message.split('...'))), re.S)
    return any(pattern.search(text) for text in templates())


MESSAGES = re.findall(r'^\| `([^`]+)` \|', PAGES['troubleshooting'], re.M)


@pytest.mark.parametrize('message', MESSAGES)
def test_messages_are_those_of_the_code(message):
    assert occurs(message)


def test_other_rows_are_few_and_messages_many():
    cells = re.findall(r'^\| (?!message|---)([^|]+) \|', PAGES['troubleshooting'], re.M)
    assert len(MESSAGES) >= 30
    assert len(cells) - len(MESSAGES) <= 3
    assert not occurs('the pseudo-labels appear to collapse')


# ------------------------------------------------------------------ choosing


def test_results_are_those_of_the_benchmark():
    page = PAGES['benchmark'].split('## From ImageNet weights')[0]
    lines = re.findall(r'^\| ([^|]+) \| ([\d.]+[ ±\d.]*?) \| ([-\d.][ ±\d.]*?) \|', page, re.M)
    recorded = {name: values for name, *values in lines if '.' in values[0]}
    listed = rows('choosing', '## What to expect, and what it costs')[1:]
    for name, drawings, *_ in listed:
        assert drawings.split(' / ') == [value for value in recorded[name] if value != '-'], name
    assert len(listed) >= 10
