"""Steps that are not finite leave nothing behind, whatever is not finite and however the optimiser works."""

import functools
import re

import pytest
import torch
from mmengine.optim import AmpOptimWrapper

from mmseg_camix.engine.hooks import NonFiniteHook
from mmseg_camix.engine.hooks.uda_hook import made_a_step
from mmseg_camix.engine.watch.diagnosis import NonFiniteError
from tests.engine.bare_loop import BAD, GOOD, BareLoop
from tests.engine.fragile import KINDS, fragile_config, same, train

ALIGNED = dict(pseudo_labels=dict(align=dict(prior=list(range(1, 20)))))
INF = float('inf')


@pytest.mark.parametrize(('method', 'kind', 'model'), [
    *(('DACS', kind, {}) for kind in KINDS), ('RCCR', 'nan', {}), ('NaiveClassMix', 'nan', ALIGNED),
    ('DACS', 'nan', dict(teacher=dict(norm='running')))])
def test_a_skipped_step_leaves_nothing_behind(world, tmp_path, method, kind, model):
    """Weights, moments, teacher, running statistics, bank, aligned distribution: bit by bit."""
    cfg = fragile_config(world, tmp_path, method, kind=kind, val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.model.update(model)
    runner, states = train(cfg)
    assert [same(*pair) for pair in zip(states.before, states.after)] == [False, True, False]
    assert runner.message_hub.get_info('nonfinite')['skipped'] == 1
    assert runner.message_hub.get_scalar('train/nonfinite/skipped').current() == 1
    log = next(tmp_path.rglob('*.log')).read_text()
    assert 'nonfinite/skipped: 1' in log
    assert re.search(r'iteration 1: .* The step was skipped \(1 in a row, 1 in all\); its inputs are in', log)


def test_without_the_hook_it_spoils_everything(world, tmp_path):
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
def test_every_optimiser_stands_still(tmp_path, optimizer, clip):
    """Decay and momentum included; afterwards it goes on as if nothing had been."""
    loop = BareLoop(tmp_path, optimizer=optimizer, clip_grad=clip)
    assert [loop.step(factor) for factor in (GOOD, BAD, GOOD, INF, GOOD)] == [True, False, True, False, True]
    assert loop.counts == dict(skipped=2, consecutive=0, overflows=0, saved=2)


def test_what_is_only_logged_may_be_nan(tmp_path):
    """OneLayer's acc_seg is always NaN."""
    loop = BareLoop(tmp_path)
    assert loop.step()
    assert not loop.counts


@pytest.mark.parametrize('bad', [0, 1, 2])
def test_gathered_gradients_are_dropped_together(tmp_path, bad):
    """Three forward passes make a step: one that is not finite spoils its own three, no others."""
    loop = BareLoop(tmp_path, optimizer=torch.optim.SGD, accumulative_counts=3)
    start = loop.state()
    for index in range(3):
        loop.step(BAD if index == bad else GOOD)
        assert not made_a_step(loop.wrapper)
    assert all(torch.equal(*pair) for pair in zip(start, loop.state())), 'statistics of all three are put back'
    fresh = BareLoop(tmp_path / 'fresh', optimizer=torch.optim.SGD, accumulative_counts=3)
    fresh.runner.iter = 3
    for _ in range(3):
        loop.step()
        fresh.step()
    assert made_a_step(loop.wrapper)
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
    """An overflow of the scale is the scaler's affair, a loss that is not finite is not."""
    scale = dict(init_scale=2.0**100, backoff_factor=2.0**-60)
    loop = BareLoop(tmp_path, amp_on_cpu, optimizer, clip_grad=clip, loss_scale=scale, hook=dict(max_consecutive=2))
    assert not loop.step(1e10)  # times 2^100 is too much for fp32
    assert not made_a_step(loop.wrapper)
    assert loop.counts == dict(skipped=0, consecutive=0, overflows=1, saved=0)
    assert loop.wrapper.loss_scaler.get_scale() == 2.0**40
    assert loop.step(GOOD)
    assert made_a_step(loop.wrapper)
    assert not loop.step(BAD)
    assert loop.counts == dict(skipped=1, consecutive=1, overflows=1, saved=1)
    assert loop.step(GOOD)
    assert not list(tmp_path.rglob('iter_0*'))


def test_amp_whose_scale_has_fallen(tmp_path, amp_on_cpu):
    """Below 1 the gradients themselves are too large: a failure like any other."""
    loop = BareLoop(tmp_path, amp_on_cpu, loss_scale=dict(init_scale=1.0), hook=dict(max_consecutive=2))
    assert not loop.step(3e38)
    with pytest.raises(NonFiniteError, match=r'(?s)some not finite.*mixed \(bfloat16\), loss scale 0.25.*mixed prec'):
        loop.step(3e38)
    assert loop.counts['skipped'] == 2


def test_amp_with_a_fixed_scale(tmp_path, amp_on_cpu):
    """It will not fall, so that waiting does not help."""
    loop = BareLoop(tmp_path, amp_on_cpu, loss_scale=2.0**100)
    assert not loop.step(1e10)
    assert loop.counts['skipped'] == 1


@pytest.mark.parametrize(('limits', 'steps', 'stops'), [
    (dict(max_consecutive=3, max_total=None), 'bbgbbgbbb', 'iteration 8: 3 steps in a row (7 in all)'),
    (dict(max_consecutive=None, max_total=4), 'bgbgbgb', 'iteration 6: 1 steps in a row (4 in all)'),
    (dict(max_consecutive=None, max_total=None), 'b' * 15, None), ({}, 'b' * 10, '10 steps in a row')])
def test_limits(tmp_path, limits, steps, stops):
    loop = BareLoop(tmp_path, hook=dict(limits, max_files=0))
    for step in steps[:-1]:
        assert loop.step(GOOD if step == 'g' else BAD) is (step == 'g')
    if stops:
        with pytest.raises(NonFiniteError, match=re.escape(stops)):
            loop.step(BAD)
    else:
        loop.step(BAD)


def test_the_error_teaches(tmp_path):
    loop = BareLoop(tmp_path, hook=dict(max_total=1), lr=0.25, clip_grad=dict(max_norm=1.0))
    with torch.no_grad():
        loop.model.norm.weight.fill_(1e20)
    with pytest.raises(NonFiniteError) as caught:
        loop.step()
    text = str(caught.value)
    for part in ('loss_layer is inf', 'gradients  all finite', 'weights    all finite',
                 'images     all finite', 'rate       0.25', 'precision  fp32',
                 f'replay_step.py {tmp_path}/t.py {tmp_path}/nonfinite/iter_0.pth',
                 'a tenth of it'):
        assert part in text, part
    loop = BareLoop(tmp_path, hook=dict(max_total=1), clip_grad=dict(max_norm=1.0))
    with pytest.raises(NonFiniteError, match=r'4 of 4 not finite, first layer.weight \(clipping by norm'):
        loop.step(BAD)


def test_the_error_names_weights_and_images(tmp_path):
    loop = BareLoop(tmp_path / 'a', hook=dict(max_consecutive=1))
    with torch.no_grad():
        loop.model.layer.bias[1] = INF
    with pytest.raises(NonFiniteError, match=r'(?s)weights    1 not finite, first layer.bias.*an earlier checkpoint'):
        loop.step()
    loop = BareLoop(tmp_path / 'b', hook=dict(max_consecutive=1))
    batch = dict(x=torch.full((5, 4), BAD), factor=torch.tensor(1.0))
    loop.hook.before_train_iter(loop.runner, 0, batch)
    log = loop.model.train_step(batch, loop.wrapper)
    with pytest.raises(NonFiniteError, match=r'(?s)images     1 not finite, first x.*look at the files named'):
        loop.hook.after_train_iter(loop.runner, 0, batch, log)


@pytest.mark.parametrize('name', ['max_consecutive', 'max_total'])
def test_a_limit_of_nothing(name):
    with pytest.raises(ValueError, match=f'{name}=0 must be at least 1; None never stops'):
        NonFiniteHook(**{name: 0})


def test_it_looks_away_after_the_training(tmp_path):
    loop = BareLoop(tmp_path)
    loop.hook.after_train(loop.runner)
    loop.step(BAD)
    assert loop.model.layer.weight.isnan().any()
    assert not loop.counts


def test_other_wrappers_are_left_alone(tmp_path):
    """Several optimisers have no common step; the training goes on unwatched, and says so."""
    loop = BareLoop(tmp_path)
    loop.runner.optim_wrapper = object()
    loop.hook.before_train(loop.runner)
    loop.hook.before_train_iter(loop.runner, 0, {})
    loop.hook.after_train_iter(loop.runner, 0, {}, {})
    assert not loop.counts
