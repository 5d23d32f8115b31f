"""Steps that are not finite are skipped without a trace; checkpoints that are not finite are not written."""

import functools
import math
import re
from unittest.mock import Mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from mmseg_camix.engine.hooks import NonFiniteHook
from mmseg_camix.engine.hooks.uda_hook import has_stepped
from mmseg_camix.engine.nonfinite import NonFiniteError
from tests.engine.bare_loop import BAD, GOOD, BareLoop
from tests.engine.fragile import KINDS, fragile_config, same, train
from tests.engine.test_resume import StopAt, Stopped
from tests.models import tiny
from tests.world import QUIET

ALIGNED = dict(pseudo_labels=dict(align=dict(prior=list(range(1, 20)))))
INF = float('inf')


@pytest.mark.parametrize(('method', 'kind', 'model'), [
    *(('DACS', kind, {}) for kind in KINDS), ('RCCR', 'nan', {}), ('NaiveClassMix', 'nan', ALIGNED),
    ('DACS', 'nan', dict(teacher=dict(norm='running')))])
def test_a_skipped_step_changes_nothing(world, tmp_path, method, kind, model):
    """Weights, moments, teacher, running statistics, bank, aligned distribution: bit by bit."""
    cfg = fragile_config(world, tmp_path, method, kind=kind, **QUIET)
    cfg.model.update(model)
    runner, states = train(cfg)
    assert [same(*pair) for pair in zip(states.before, states.after)] == [False, True, False]
    assert runner.message_hub.get_info('nonfinite')['skipped'] == 1
    assert runner.message_hub.get_scalar('train/nonfinite/skipped').current() == 1
    log = next(tmp_path.rglob('*.log')).read_text()
    assert 'nonfinite/skipped: 1' in log
    assert re.search(r'iteration 1: .* The step was skipped \(1 in a row, 1 in total\); its batch is in', log)


def test_without_the_hook_all_weights_become_nan(world, tmp_path):
    cfg = fragile_config(world, tmp_path)
    cfg.custom_hooks.pop()
    _, states = train(cfg)
    last = states.after[-1]['model']
    assert all(last[f'{network}.decode_head.conv_seg.weight'].isnan().all() for network in ('student', 'teacher.model'))


@pytest.mark.parametrize('optimizer', [
    torch.optim.SGD, functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1), torch.optim.AdamW,
    functools.partial(torch.optim.AdamW, fused=True), functools.partial(torch.optim.AdamW, foreach=True),
    torch.optim.RMSprop, torch.optim.NAdam])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)])
def test_no_optimiser_moves(tmp_path, optimizer, clip):
    """Decay and momentum included; the following steps are not affected, nor those whose logged accuracy is NaN."""
    loop = BareLoop(tmp_path, optimizer=optimizer, clip_grad=clip)
    assert [loop.step(factor) for factor in (GOOD, BAD, GOOD, INF, GOOD)] == [True, False, True, False, True]
    assert loop.counts == dict(skipped=2, consecutive=0, overflows=0)


@pytest.mark.parametrize('bad', [0, 1, 2])
def test_accumulated_gradients_are_dropped_together(tmp_path, bad):
    """Three forward passes make a step: one that is not finite spoils its own three, no others."""
    loop = BareLoop(tmp_path, optimizer=torch.optim.SGD, accumulative_counts=3)
    start = loop.state()
    for index in range(3):
        loop.step(BAD if index == bad else GOOD)
        assert not has_stepped(loop.wrapper)
    assert all(torch.equal(*pair) for pair in zip(start, loop.state())), 'statistics of all three are put back'
    fresh = BareLoop(tmp_path / 'fresh', optimizer=torch.optim.SGD, accumulative_counts=3)
    fresh.runner.iter = 3
    for _ in range(3):
        loop.step()
        fresh.step()
    assert has_stepped(loop.wrapper)
    assert all(torch.equal(*pair) for pair in zip(fresh.state(), loop.state()))
    assert loop.counts['skipped'] == 1


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """mmengine's AmpOptimWrapper with torch's scaler for the CPU."""
    name = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    monkeypatch.setattr(f'{name}.is_cuda_available', lambda: True)
    monkeypatch.setattr(f'{name}.GradScaler', functools.partial(torch.amp.GradScaler, 'cpu'))
    return functools.partial(AmpOptimWrapper, dtype='bfloat16')


@pytest.mark.parametrize('optimizer', [torch.optim.SGD, functools.partial(torch.optim.AdamW, fused=True)])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)])
def test_amp(tmp_path, amp_on_cpu, optimizer, clip):
    """Overflows are left to the scaler, losses that are not finite are not."""
    scale = dict(init_scale=2.0**100, backoff_factor=2.0**-60)
    loop = BareLoop(tmp_path, amp_on_cpu, optimizer, clip_grad=clip, loss_scale=scale, hook=dict(max_consecutive=2))
    assert not loop.step(1e10)  # times 2^100 is too much for fp32
    assert not has_stepped(loop.wrapper)
    assert loop.counts == dict(skipped=0, consecutive=0, overflows=1)
    assert loop.wrapper.loss_scaler.get_scale() == 2.0**40
    assert loop.step(GOOD)
    assert has_stepped(loop.wrapper)
    assert not loop.step(BAD)
    assert loop.counts == dict(skipped=1, consecutive=1, overflows=1)
    assert loop.step(GOOD)
    assert not list(tmp_path.rglob('iter_0*'))


def test_amp_whose_scale_has_fallen(tmp_path, amp_on_cpu):
    """Below 1 the gradients themselves are too large: a failure like any other."""
    loop = BareLoop(tmp_path, amp_on_cpu, loss_scale=dict(init_scale=1.0), hook=dict(max_consecutive=2))
    assert not loop.step(3e38)
    with pytest.raises(NonFiniteError, match=r'(?s)gradients +not finite.*mixed \(bfloat16\), loss scale 0.25.*mixed'):
        loop.step(3e38)
    assert loop.counts['skipped'] == 2


def test_amp_with_a_fixed_scale(tmp_path, amp_on_cpu):
    """It will not fall, so that waiting does not help."""
    loop = BareLoop(tmp_path, amp_on_cpu, loss_scale=2.0**100)
    assert not loop.step(1e10)
    assert loop.counts['skipped'] == 1


@pytest.mark.parametrize(('limits', 'steps', 'stops'), [
    (dict(max_consecutive=3, max_total=None), 'bbgbbgbbb', 'iteration 8: .*: 3 in a row, 7 in total'),
    (dict(max_consecutive=None, max_total=4), 'bgbgbgb', 'iteration 6: .*: 1 in a row, 4 in total'),
    (dict(max_consecutive=None, max_total=None), 'b' * 15, None), ({}, 'b' * 10, '10 in a row')])
def test_limits(tmp_path, limits, steps, stops):
    loop = BareLoop(tmp_path, hook=dict(limits, save_batch=False))
    for step in steps[:-1]:
        assert loop.step(GOOD if step == 'g' else BAD) is (step == 'g')
    if stops:
        with pytest.raises(NonFiniteError, match=stops):
            loop.step(BAD)
    else:
        loop.step(BAD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('spoil', 'factor', 'parts'), [
    (lambda loop: loop.model.norm.weight.fill_(1e20), GOOD, (
        'loss_layer is inf', 'gradients      all finite', 'weights        all finite', 'images         all finite',
        'learning rate  0.25', 'precision      fp32', 'a tenth of it')),
    (lambda loop: loop.model.layer.bias[1].fill_(INF), GOOD,
     ('weights        1 not finite, first layer.bias', 'an earlier checkpoint')),
    (lambda loop: None, BAD, ('gradients      4 not finite, first layer.weight', 'images         1 not finite, first '
                              'factor', 'check the files named in the data samples'))])
def test_the_error_names_causes(tmp_path, spoil, factor, parts):
    loop = BareLoop(tmp_path, hook=dict(max_total=1), lr=0.25, clip_grad=dict(max_norm=1.0))
    with torch.no_grad():
        spoil(loop)
    with pytest.raises(NonFiniteError) as caught:
        loop.step(factor)
    for part in parts:
        assert part in str(caught.value), part


@pytest.mark.parametrize('name', ['max_consecutive', 'max_total'])
def test_a_limit_of_zero_is_refused(name):
    with pytest.raises(ValueError, match=f'{name}=0 must be at least 1; None disables the limit'):
        NonFiniteHook(**{name: 0})


def test_detached_after_the_training(tmp_path):
    loop = BareLoop(tmp_path)
    loop.hook.after_train(loop.runner)
    loop.step(BAD)
    assert loop.model.layer.weight.isnan().any()
    assert not loop.counts


def test_other_wrappers_are_not_watched(tmp_path):
    """Several optimisers have no common step; the training continues."""
    loop = BareLoop(tmp_path)
    loop.runner.optim_wrapper = object()
    loop.hook.before_train(loop.runner)
    loop.hook.before_train_iter(loop.runner, 0, {})
    loop.hook.after_train_iter(loop.runner, 0, {}, {})
    assert not loop.counts


def test_the_batch_of_the_first_skipped_step(world, tmp_path):
    """Whole, as plain data, of both passes of an accumulation, once."""
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)
    cfg = fragile_config(world, tmp_path, at=(1, 3), max_iters=4, optim_wrapper=wrapper, **QUIET)
    train(cfg)
    assert [file.name for file in (tmp_path / 'nonfinite').iterdir()] == ['iter_1.pth']
    content = torch.load(tmp_path / 'nonfinite/iter_1.pth', weights_only=True)
    assert (content['iterations'], content['seed'], content['rank']) == ([0, 1], 0, 0)
    assert math.isnan(content['losses']['fragile.loss_fragile'])
    assert math.isfinite(content['losses']['mixed.loss_ce'])
    source = content['batches'][1]['source']
    assert source['inputs'][0].dtype == torch.uint8
    assert source['data_samples'][0]['gt_sem_seg']['data'].shape == (1, 32, 32)
    assert source['data_samples'][0]['img_path'].endswith('.png')


def test_a_full_disk_does_not_stop_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr('mmseg_camix.engine.hooks.nonfinite_hook.save_checkpoint',
                        Mock(side_effect=OSError(28, 'No space left on device')))
    loop = BareLoop(tmp_path)
    assert not loop.step(BAD)
    assert loop.step()
    assert loop.counts['skipped'] == 1


def test_counts_survive_a_resume(world, tmp_path):
    """Stopped between two failures, the resumed training ends as the uninterrupted one."""
    states = {}
    for name, parts in (('whole', (4,)), ('parts', (2, 4))):
        for iterations in parts:
            cfg = fragile_config(world, tmp_path / name, at=(1, 2), max_iters=4, **QUIET)
            cfg.model.segmentor = tiny.small(num_classes=19, dropout=0.0)
            cfg.update(resume=iterations == 4, experiment_name=f'{tmp_path.name}{name}{iterations}')
            cfg.default_hooks.checkpoint.interval = 2
            runner = Runner.from_cfg(cfg)
            if iterations == 2:
                runner.register_hook(StopAt(2))
            try:
                runner.train()
            except Stopped:
                continue
        states[name] = torch.load(tmp_path / name / 'iter_4.pth', weights_only=True)
    whole, parts = states['whole'], states['parts']
    assert same(whole['state_dict'], parts['state_dict'])
    assert same(whole['optimizer'], parts['optimizer'])
    for state in (whole, parts):
        assert state['message_hub']['runtime_info']['nonfinite'] == dict(skipped=2, consecutive=0, overflows=0)


class _Spoil(Hook):
    """Makes a number of the model NaN, as an update of the teacher might; the losses stay finite."""

    def __init__(self, name, iteration):
        self.name, self.iteration = name, iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == self.iteration:
            runner.model.state_dict()[self.name].view(-1)[0] = float('nan')


@pytest.mark.parametrize('name', ['teacher.model.decode_head.conv_seg.weight', 'student.backbone.norm.running_var'])
def test_a_checkpoint_that_is_not_finite_is_not_written(world, tmp_path, name):
    """Neither periodic nor best; those before it stay."""
    cfg = fragile_config(world, tmp_path, at=(), max_iters=4, val_interval=1)
    cfg.default_hooks.checkpoint.update(interval=2, save_best='mIoU', rule='less')
    runner = Runner.from_cfg(cfg)
    runner.register_hook(_Spoil(name, 2))
    with pytest.raises(NonFiniteError, match=f'no checkpoint was written at iteration [34]: 1 of its .*{name}'):
        runner.train()
    files = sorted(file.name for file in tmp_path.glob('*.pth'))
    assert 'iter_2.pth' in files
    assert not any('4' in file for file in files)
    assert all(value.isfinite().all() for file in files
               for value in torch.load(tmp_path / file, weights_only=True)['state_dict'].values())
