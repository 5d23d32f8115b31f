"""Two processes decide alike, although only one of them has seen what is wrong."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix.engine.watch.report import NonFiniteError
from tests.engine.fragile import States, fragile_config, same
from tests.gloo import run_in_pair

CASES = dict(loss=dict(kind='loss'),
             gathered=dict(kind='loss', optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)),
             stopped=dict(kind='loss', hook=dict(max_total=1)))


def config_of(case, world, folder):
    cfg = fragile_config(world, folder / case, at=(1,), max_iters=3, val_cfg=None, val_dataloader=None,
                         val_evaluator=None, **CASES[case])
    cfg.model.objectives.fragile.ranks = [1]
    return cfg


def training(case, world, folder, rank):
    """Step 1 breaks in the second process alone; returns what each process saw of it."""
    cfg = config_of(case, world, folder)
    cfg.custom_hooks.append(dict(type='CollapseHook', interval=1))
    prepare_launch(cfg, 'pytorch')
    runner, states = Runner.from_cfg(cfg), States()
    runner.register_hook(states)
    error = ''
    try:
        runner.train()
    except NonFiniteError as caught:
        error = str(caught)
    hub = runner.message_hub
    return dict(
        error=error, counts=hub.get_info('nonfinite'), collapse=hub.get_info('collapse'),
        stood_still=[same(*pair) for pair in zip(states.before, states.after)],
        last={key: value for key, value in states.after[-1]['model'].items() if key.endswith(('weight', 'bias'))},
        term=float(hub.get_scalar('train/fragile.loss_fragile').data[0].max()))


@pytest.fixture(scope='module')
def answers(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp('pair')
    found = run_in_pair({case: partial(training, case, world, folder) for case in CASES}, folder)
    for pair in found.values():
        assert all(isinstance(one, dict) for one in pair), pair
    return folder, found


@pytest.mark.parametrize('case', ['loss', 'gathered'])
def test_both_skip(answers, case):
    folder, found = answers
    one, other = found[case]
    assert one['counts'] == other['counts'] == dict(skipped=1, consecutive=0, overflows=0)
    assert one['stood_still'] == other['stood_still']
    if case != 'gathered':
        assert one['stood_still'] == [False, True, False]
    assert one['last'].keys() == other['last'].keys()
    assert all(torch.equal(value, other['last'][key]) for key, value in one['last'].items())
    assert all(value.isfinite().all() for value in one['last'].values())
    files = [folder / case / f'nonfinite/iter_1{name}.pth' for name in ('', '_rank1')]
    assert sorted(files) == sorted((folder / case / 'nonfinite').iterdir())
    good, bad = (torch.load(file, weights_only=True) for file in files)
    assert (good['rank'], bad['rank']) == (0, 1)
    assert good['losses']['fragile.loss_fragile'] == 0
    assert bad['losses']['fragile.loss_fragile'] == float('inf')
    images = [content['batches'][-1]['source']['inputs'][0] for content in (good, bad)]
    assert not torch.equal(*images), 'each process writes its own batch'


def test_both_stop(answers):
    for one in answers[1]['stopped']:
        assert 'stopped at iteration 1' in one['error']
    one, other = (pair['error'] for pair in answers[1]['stopped'])
    assert 'losses         a loss of another process is not finite' in one
    assert 'losses         fragile.loss_fragile is inf' in other
    assert 'Check\n  - the objective behind fragile.loss_fragile' in other


def test_pseudo_labels_are_counted_together(answers):
    one, other = answers[1]['loss']
    assert one['collapse'] == other['collapse']
    assert sum(one['collapse']['mean'][:19]) == pytest.approx(2 * 2 * 32 * 32), 'two images of each of two processes'
