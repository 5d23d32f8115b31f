"""Whole trainings through the tools: resumed, repeated, and in a project of one's own."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_camix.datasets import PairedDataset
from mmseg_camix.engine.config import complete_for_adaptation
from mmseg_camix.engine.hooks.record_hook import read_record
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config


class Stopped(Exception):
    """Somebody pulled the plug."""


@HOOKS.register_module()
class PullThePlug(Hook):
    """In the middle of the iteration after number `after`."""

    priority = 'LOWEST'

    def __init__(self, after: int) -> None:
        self.after = after

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.after + 1:
            raise Stopped


def calm():
    """Without dropout."""
    return tiny.small(num_classes=19, dropout=0.0)


def write(cfg, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(str(path))
    return path


def state(folder, iteration=6):
    return torch.load(folder / f'iter_{iteration}.pth', weights_only=True)


def same(one, other):
    """Bit by bit, and each thing in its place."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def hooks(interval=3):
    return dict(logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=interval))


@pytest.mark.parametrize(('method', 'loop'), [
    ('DACS', 'IterBasedTrainLoop'), ('NaiveClassMix', 'ResumableTrainLoop'), ('SourceOnly', 'ResumableTrainLoop')])
def test_three_and_three_resumed_are_six(world, tmp_path, method, loop):
    """Through the tool, stopped in between; dropout included (more of this in test_resume.py)."""
    labels = dict(pseudo_labels=dict(align=dict(prior=list(range(1, 20))))) if method == 'NaiveClassMix' else {}
    cfg = config(world, tmp_path / 'x', method, None, 6, 3, default_hooks=hooks())
    cfg.model.update(labels)
    cfg.train_cfg.type = loop
    file = write(cfg, tmp_path / 'cfg.py')
    assert call('train.py', file, '--work-dir', tmp_path / 'whole') == 0
    stopping = Config.fromfile(file)
    stopping.custom_hooks.append(dict(type='PullThePlug', after=3))
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
    if method == 'DACS':
        assert whole['state_dict']['teacher.steps'] == 6


@pytest.mark.parametrize(('loop', 'reads'), [('ResumableTrainLoop', 1), ('IterBasedTrainLoop', 3)])
def test_what_a_resumed_training_reads(world, tmp_path, monkeypatch, loop, reads):
    """Ours begins where it had stopped; the stock loop reads all that came before again."""
    cfg = config(world, tmp_path / 'x', max_iters=3, default_hooks=hooks(2))
    cfg.train_cfg.type = loop
    file = write(cfg, tmp_path / 'cfg.py')
    assert call('train.py', file, '--work-dir', tmp_path / 'run') == 0
    seen, inner = [], PairedDataset.__getitem__
    monkeypatch.setattr(PairedDataset, '__getitem__', lambda self, key: seen.append(key.position) or inner(self, key))
    assert call('train.py', file, '--work-dir', tmp_path / 'run', '--resume', tmp_path / 'run/iter_2.pth') == 0
    assert seen == list(range(6))[-2 * reads:]


def test_a_seed_decides_everything(world, tmp_path):
    """Dropout included; another seed is another training."""
    file = write(config(world, tmp_path / 'x', max_iters=2), tmp_path / 'cfg.py')
    for name, seed in (('one', 1), ('again', 1), ('other', 2)):
        assert call('train.py', file, '--work-dir', tmp_path / name, '--seed', seed) == 0
    one, again, other = (state(tmp_path / name, 2)['state_dict'] for name in ('one', 'again', 'other'))
    assert same(one, again)
    assert not same(one, other)


def test_resume_from_a_named_checkpoint(world, tmp_path):
    file = write(config(world, tmp_path / 'x', None, max_iters=4, default_hooks=hooks(2), custom_hooks=[],
                        model=dict(type='DACS', segmentor=calm())), tmp_path / 'cfg.py')
    assert call('train.py', file, '--work-dir', tmp_path / 'a') == 0
    assert call('train.py', file, '--work-dir', tmp_path / 'b', '--resume', tmp_path / 'a/iter_2.pth') == 0
    assert same(state(tmp_path / 'a', 4)['state_dict'], state(tmp_path / 'b', 4)['state_dict'])


def test_load_from_a_plain_segmentor(world, tmp_path):
    """Pretrained on the source with mmseg alone, then adapted: teacher and student start from it."""
    plain = tiny.build(calm(), seed=11)
    torch.save(dict(state_dict=plain.state_dict(), meta={}), tmp_path / 'plain.pth')
    seen = {}

    class First(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            for name in ('student', 'teacher'):
                network = runner.model.network(name)
                seen[name] = {key: value.clone() for key, value in network.state_dict().items()}

    cfg = config(world, tmp_path / 'x', segmentor=calm(), max_iters=1, load_from=str(tmp_path / 'plain.pth'))
    runner = Runner.from_cfg(cfg)
    runner.register_hook(First())
    runner.train()
    assert same(seen['student'], dict(plain.state_dict()))
    assert same(seen['teacher'], dict(plain.state_dict()))


def test_a_checkpoint_of_a_method_starts_another(world, tmp_path):
    """A source-only student under DACS: the teacher starts as its copy."""
    Runner.from_cfg(config(world, tmp_path / 'so', 'SourceOnly', calm(), 2)).train()
    cfg = config(world, tmp_path / 'dacs', 'DACS', calm(), 1, load_from=str(tmp_path / 'so/iter_2.pth'),
                 optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)))
    runner = Runner.from_cfg(cfg)
    runner.train()
    expected = state(tmp_path / 'so', 2)['state_dict']['student.decode_head.conv_seg.weight']
    for name in ('student', 'teacher'):
        assert torch.equal(runner.model.network(name).decode_head.conv_seg.weight, expected)


def test_a_project_of_ones_own(world, tmp_path):
    """mmseg's way: a config with custom_imports, and Runner.from_cfg; stock loops work as well."""
    cfg = config(world, tmp_path / 'x', max_iters=2, val_interval=2, val_cfg=dict(type='ValLoop'),
                 test_cfg=dict(type='TestLoop'), val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
                 custom_hooks=[dict(type='UDAHook')])
    runner = Runner.from_cfg(Config.fromfile(write(cfg, tmp_path / 'cfg.py')))
    runner.train()
    assert runner.model.teacher.steps_made == 2
    assert 'mIoU' in runner.val()


def test_completion_makes_a_bare_config_work(world, tmp_path):
    """No hook, stock loops: what wrapping the model of an existing config leaves."""
    cfg = config(world, tmp_path / 'x', max_iters=1, val_interval=1, custom_hooks=[], val_cfg=dict(type='ValLoop'),
                 test_cfg=dict(type='TestLoop'))
    complete_for_adaptation(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.teacher.steps_made == 1
    assert {'student/mIoU', 'teacher/mIoU'} <= set(runner.val())


def test_the_best_checkpoint_by_a_key(world, tmp_path):
    own = hooks(2)
    own['checkpoint'].update(save_best='teacher/mIoU', rule='greater')
    Runner.from_cfg(config(world, tmp_path / 'x', max_iters=2, val_interval=1, default_hooks=own)).train()
    best = list((tmp_path / 'x').rglob('best_*.pth'))
    assert len(best) == 1
    curve = {e['iteration']: e['metrics']['teacher/mIoU'] for e in read_record(tmp_path / 'x')['val']}
    assert best[0].stem.endswith(f'iter_{max(curve, key=lambda i: (curve[i], -i))}')


def test_clipping_and_layer_rates_need_nothing_special(world, tmp_path):
    """The optimiser's options reach the student by the names of the plain segmentor."""
    cfg = config(world, tmp_path / 'x', max_iters=1, optim_wrapper=dict(
        type='OptimWrapper', clip_grad=dict(max_norm=1.0), optimizer=dict(type='SGD', lr=1.0),
        paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)})))
    runner = Runner.from_cfg(cfg)
    runner.train()
    rates = {}
    student = {id(p): name for name, p in runner.model.student.named_parameters()}
    for group in runner.optim_wrapper.param_groups:
        for p in group['params']:
            if id(p) in student:
                rates[student[id(p)]] = group['initial_lr']
    assert len(rates) == len(student)
    assert all(rate == (10.0 if name.startswith('decode_head') else 1.0) for name, rate in rates.items())
