"""The resolved configuration: complete, with origins, readable as Python, and what the built model really has."""

import ast
from collections import OrderedDict
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import LocalVisBackend
from mmseg.registry import MODELS

from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.resolved_config import FILE, command_line, record, render, resolve, values
from tests.tools_runner import ROOT, call

CAMIX = str(ROOT / 'configs/camix/mini_gta2cs_tiny.py')


@pytest.mark.parametrize(('argv', 'line'), [
    (['mmseg-camix train', 'a b.py', '--seed', '3'], "mmseg-camix train 'a b.py' --seed 3"),
    (['tools/train.py', 'a.py'], 'python tools/train.py a.py')])
def test_the_command_line_can_be_repeated(monkeypatch, argv, line):
    monkeypatch.setattr('sys.argv', argv)
    monkeypatch.setattr('sys.executable', '/usr/bin/python')
    assert command_line() == line


def entry(entries, key):
    """The entry at a dotted key."""
    first, *names = key.split('.')
    result = entries[first]
    for name in names:
        result = result.value[int(name) if isinstance(result.value, list) else name]
    return result


@pytest.mark.parametrize(('key', 'value', 'origin'), [
    ('model.pseudo_labels.threshold', 0.968, 'default of PseudoLabels'),
    ('model.pseudo_labels.significance.passes', 8, 'default of CAMix'),
    ('model.pseudo_labels.significance.beta', 0.75, 'default of SignificanceMask'),
    ('model.augment.jitter', 0.25, 'default of CAMix'),
    ('model.masks.context.groups', ('I', 'II'), 'default of CAMix'),
    ('model.masks.context.prior', 'data/mini/priors/gta.npz', 'config'),
    ('model.masks.classes.ratio', 0.5, 'default of ClassMask'),
    ('model.views.mixed.at', 5, '--cfg-options'),
    ('model.objectives.source.type', 'SupervisedLoss', 'default of CAMix'),
    ('model.teacher.alpha', 0.5, '--cfg-options'),
    ('model.predict_with', 'teacher', 'default of CAMix'),
    ('model.branches', ('source', 'target'), 'default of CAMix'),
    ('model.segmentor.backbone.depth', 18, 'config'),
    ('model.segmentor.train_cfg', {}, 'config'),
    ('model.segmentor.decode_head.loss_decode.avg_non_ignore', False, 'default of CrossEntropyLoss'),
    ('train_dataloader.dataset.source.pipeline.3.ignore_index', 255, 'default of RecordedRandomCrop'),
    ('train_dataloader.dataset.skip_unreadable', False, 'default of PairedDataset'),
    ('optim_wrapper.optimizer.eps', 1e-8, 'default of AdamW'),
    ('param_scheduler.1.power', 0.9, 'config'),
    ('default_hooks.collapse.type', 'CollapseHook', 'added'),
])
def test_values_and_origins(key, value, origin):
    options = {'model.teacher.alpha': 0.5, 'model.views.mixed.at': 5}
    resolved = entry(resolve(load_config(CAMIX, options), options), key)
    assert (values(resolved), resolved.origin) == (value, origin)


@pytest.mark.parametrize(('config', 'key', 'value'), [
    ('source_free/mini_gta2cs_tiny', 'pseudo_labels.quota', dict(share=0.5, momentum=0.95, bins=200)),
    ('vfm/gta2cs_dinov2_b', 'views.target_weak.augment.grey_probability', 0.0)])
def test_arguments_without_a_type_in_parts_of_a_method(config, key, value):
    resolved = values(entry(resolve(load_config(str(ROOT / f'configs/{config}.py'))), f'model.{key}'))
    assert resolved == value


def test_the_text_is_python_with_an_origin_on_each_line_that_has_a_value():
    entries = resolve(load_config(CAMIX))
    text = render(entries, 'x.py')
    namespace = {}
    exec(text, namespace)
    assert namespace['model'] == values(entries['model'])
    assert namespace['test_dataloader'] == values(entries['test_dataloader'])
    for line in text.split('\n\n', 1)[1].splitlines():
        brackets = line.endswith(('(', '[', '{', '),', '],', '},', ')', ']', '}'))
        assert brackets or '  # ' in line or line in (
            'test_dataloader = val_dataloader', 'test_evaluator = val_evaluator'), line


@pytest.mark.parametrize('name', [
    'dacs/mini_gta2cs_tiny', 'camix/mini_gta2cs_tiny', 'camix/mini_gta2cs_tiny_official', 'dsp/mini_gta2cs_tiny',
    'dsp/mini_gta2cs_tiny_official', 'rccr/mini_gta2cs_tiny', 'daformer/mini_gta2cs_tiny_inverse',
    'source_only/mini_gta2cs_tiny'])
def test_the_built_model_has_the_resolved_values(name):
    cfg = load_config(str(ROOT / f'configs/{name}.py'))
    resolved = values(resolve(cfg))['model']
    model = MODELS.build(cfg.model)
    assert model.predict_with == resolved['predict_with']
    assert tuple(model.branches) == tuple(resolved['branches'])
    parts = [(getattr(model, table)[name], arguments) for table in ('masks', 'views', 'objectives')
             for name, arguments in resolved[table].items()]
    assert [len(getattr(model, table)) for table in ('masks', 'views', 'objectives')] == [
        len(resolved[table]) for table in ('masks', 'views', 'objectives')]
    if model.teacher is not None:
        parts += [(model.teacher, resolved['teacher']), (model.pseudo_labels, resolved['pseudo_labels'])]
        if model.pseudo_labels.significance is not None:
            parts.append((model.pseudo_labels.significance, resolved['pseudo_labels']['significance']))
    compared = 0
    for part, arguments in parts:
        for key, value in arguments.items():
            if type(value) in (int, str) and type(getattr(part, key, None)) is type(value):
                assert getattr(part, key) == value, (part, key)
                compared += 1
    assert compared
    assert 'teacher' in resolved or model.teacher is None


def test_a_plain_model_is_resolved(world, tmp_path):
    from tests.world import config
    cfg = config(world, tmp_path, method=None)
    cfg.model.type = MODELS.get(cfg.model.type)  # a class instead of its name
    entries = resolve(cfg)
    assert values(entries)['model']['type'] == str(cfg.model.type)
    exec(render(entries, 'x.py'), {})
    assert entry(entries, 'model.type').origin == 'config'
    assert entry(entries, 'optim_wrapper.optimizer.eps').origin == 'default of AdamW'


def test_it_is_written_and_logged(tmp_path):
    logged = []
    backends = dict(local=LocalVisBackend(str(tmp_path)), other=SimpleNamespace(add_config=logged.append))
    runner = SimpleNamespace(rank=0, work_dir=str(tmp_path), visualizer=SimpleNamespace(_vis_backends=backends))
    cfg = load_config(CAMIX)
    record(runner, cfg, None, 'x.py')
    assert (tmp_path / FILE).read_text() == render(resolve(cfg), 'x.py')
    assert len(logged) == 1
    assert isinstance(logged[0], Config)
    assert logged[0].resolved.model.pseudo_labels.threshold == 0.968
    record(SimpleNamespace(rank=1, work_dir=str(tmp_path / 'no')), cfg, None, 'x.py')  # other processes write nothing
    assert not (tmp_path / 'no').exists()


def test_print_config(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = ('print_config.py', 'configs/dacs/mini_gta2cs_tiny.py')
    assert call(*arguments, '--only', 'model.teacher', '--cfg-options', 'model.teacher.alpha=0.5') == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ['alpha=0.5,', '#', '--cfg-options'] for line in lines)
    assert not any('masks' in line for line in lines)
    assert "--only model.techer: there is no 'techer'; did you mean 'teacher'?" in call(
        *arguments, '--only', 'model.techer')


def test_the_printed_config_is_python_without_log_lines(tmp_path, capsys, monkeypatch):
    """Of a config without UDAHook, whose addition is logged."""
    monkeypatch.setattr(MMLogger, '_instance_dict', OrderedDict())  # as in a process of its own
    cfg = Config.fromfile(CAMIX)
    cfg.custom_hooks = []
    cfg.dump(str(tmp_path / 'a.py'))
    assert call('print-config', tmp_path / 'a.py') == 0
    printed = capsys.readouterr()
    ast.parse(printed.out)
    assert 'added custom_hooks entry UDAHook' in printed.err
