"""Whole trainings through the tool and through mmengine's Runner."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_camix.datasets import PairedDataset
from mmseg_camix.engine.config import complete_for_adaptation
from mmseg_camix.engine.hooks.record_hook import read_record
from tests.engine.fragile import same, train, weights_of
from tests.engine.test_resume import Stopped, checkpoints
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config


def without_dropout():
    return tiny.small(num_classes=19, dropout=0.0)


def write(cfg, path):
    cfg.dump(str(path))
    return path


def state(folder, iteration=6):
    return torch.load(folder / f'iter_{iteration}.pth', weights_only=True)


@pytest.mark.parametrize(('method', 'loop'), [('DACS', 'IterBasedTrainLoop'), ('NaiveClassMix', 'ResumableTrainLoop'),
                                              ('SourceOnly', 'ResumableTrainLoop')])
def test_the_tool_resumes_exactly(world, tmp_path, method, loop):
    """Stopped within the second half; also with mmengine's own loop (more in test_resume.py)."""
    cfg = config(world, tmp_path / 'x', method, None, 6, 3, default_hooks=checkpoints())
    if method == 'NaiveClassMix':
        cfg.model.pseudo_labels = dict(align=dict(prior=list(range(1, 20))))
    cfg.train_cfg.type = loop
    file = write(cfg, tmp_path / 'cfg.py')
    assert call('train.py', file, '--work-dir', tmp_path / 'whole') == 0
    stopping = Config.fromfile(file)
    stopping.custom_hooks.append(dict(type='StopAt', iteration=4))
    with pytest.raises(Stopped):
        call('train.py', write(stopping, tmp_path / 'stopping.py'), '--work-dir', tmp_path / 'parts')
    assert not (tmp_path / 'parts/iter_6.pth').exists()
    assert not read_record(tmp_path / 'parts')['finished']
    assert call('train.py', file, '--work-dir', tmp_path / 'parts', '--resume') == 0
    whole, parts = state(tmp_path / 'whole'), state(tmp_path / 'parts')
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert same(whole[key], parts[key]), key
    assert not same(whole['state_dict'], state(tmp_path / 'whole', 3)['state_dict'])
    assert read_record(tmp_path / 'whole') == read_record(tmp_path / 'parts')
    assert read_record(tmp_path / 'whole')['finished']


@pytest.mark.parametrize(('loop', 'reads'), [('ResumableTrainLoop', 1), ('IterBasedTrainLoop', 3)])
def test_data_read_by_a_resumed_training(world, tmp_path, monkeypatch, loop, reads):
    """From a named checkpoint; mmengine's loop reads all earlier data again."""
    cfg = config(world, tmp_path / 'x', max_iters=3, default_hooks=checkpoints(2))
    cfg.train_cfg.type = loop
    file = write(cfg, tmp_path / 'cfg.py')
    assert call('train.py', file, '--work-dir', tmp_path / 'run') == 0
    positions, stock = [], PairedDataset.__getitem__
    monkeypatch.setattr(PairedDataset, '__getitem__',
                        lambda self, key: positions.append(key.position) or stock(self, key))
    assert call('train.py', file, '--work-dir', tmp_path / 'b', '--resume', tmp_path / 'run/iter_2.pth') == 0
    assert positions == list(range(6))[-2 * reads:]
    assert same(state(tmp_path / 'run', 3)['state_dict'], state(tmp_path / 'b', 3)['state_dict'])


def test_the_seed_determines_a_training(world, tmp_path):
    """Dropout included."""
    file = write(config(world, tmp_path / 'x', max_iters=2), tmp_path / 'cfg.py')
    for name, seed in (('first', 1), ('second', 1), ('other', 2)):
        assert call('train.py', file, '--work-dir', tmp_path / name, '--seed', seed) == 0
    first, second, other = (state(tmp_path / name, 2)['state_dict'] for name in ('first', 'second', 'other'))
    assert same(first, second)
    assert not same(first, other)


def test_load_from_a_plain_segmentor(world, tmp_path):
    """Teacher and student start from the weights of a segmentor that mmseg has trained."""
    plain = tiny.build(without_dropout(), seed=11)
    torch.save(dict(state_dict=plain.state_dict(), meta={}), tmp_path / 'plain.pth')
    _, states = train(config(world, tmp_path / 'x', segmentor=without_dropout(), max_iters=1,
                             load_from=str(tmp_path / 'plain.pth')))
    for name in ('student', 'teacher'):
        assert same(weights_of(states.before[0], name), dict(plain.state_dict()))


def test_a_project_without_our_tools(world, tmp_path):
    """A config with custom_imports, and Runner.from_cfg; stock loops work as well."""
    cfg = config(world, tmp_path / 'x', max_iters=2, val_interval=2, val_cfg=dict(type='ValLoop'),
                 test_cfg=dict(type='TestLoop'), val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
                 custom_hooks=[dict(type='UDAHook')])
    runner = Runner.from_cfg(Config.fromfile(write(cfg, tmp_path / 'cfg.py')))
    runner.train()
    assert runner.model.teacher.steps_made == 2
    assert 'mIoU' in runner.val()


def test_completion_makes_a_bare_config_work(world, tmp_path):
    """Without hooks and with stock loops, as after wrapping the model of an existing config."""
    cfg = config(world, tmp_path / 'x', max_iters=1, val_interval=1, custom_hooks=[], val_cfg=dict(type='ValLoop'),
                 test_cfg=dict(type='TestLoop'))
    complete_for_adaptation(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.teacher.steps_made == 1
    assert {'student/mIoU', 'teacher/mIoU'} <= set(runner.val())
