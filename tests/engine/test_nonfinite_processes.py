"""Two processes decide alike about a step that fails in one of them."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.engine.nonfinite import NonFiniteError
from mmseg_camix.engine.processes import prepare_launch
from tests.engine.fragile import States, fragile_config, same
from tests.gloo import run_in_pair
from tests.world import QUIET

CASES = dict(loss=dict(kind='loss'),
             gathered=dict(kind='loss', optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)),
             stopped=dict(kind='loss', hook=dict(max_total=1)))


def config_of(case, world, folder):
    cfg = fragile_config(world, folder / case, at=(1,), max_iters=3, **QUIET, **CASES[case])
    cfg.model.objectives.fragile.ranks = [1]
    return cfg


def training(case, world, folder, rank):
    """Step 1 fails in the second process only; returns the results of this process."""
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
    results = run_in_pair({case: partial(training, case, world, folder) for case in CASES}, folder)
    for pair in results.values():
        assert all(isinstance(item, dict) for item in pair), pair
    return folder, results


@pytest.mark.parametrize('case', ['loss', 'gathered'])
def test_both_skip(answers, case):
    folder, results = answers
    first, second = results[case]
    assert first['counts'] == second['counts'] == dict(skipped=1, consecutive=0, overflows=0)
    assert first['stood_still'] == second['stood_still']
    if case != 'gathered':
        assert first['stood_still'] == [False, True, False]
    assert first['last'].keys() == second['last'].keys()
    assert all(torch.equal(value, second['last'][key]) for key, value in first['last'].items())
    assert all(value.isfinite().all() for value in first['last'].values())
    files = [folder / case / f'nonfinite/iter_1{name}.pth' for name in ('', '_rank1')]
    assert sorted(files) == sorted((folder / case / 'nonfinite').iterdir())
    good, bad = (torch.load(file, weights_only=True) for file in files)
    assert (good['rank'], bad['rank']) == (0, 1)
    assert good['losses']['fragile.loss_fragile'] == 0
    assert bad['losses']['fragile.loss_fragile'] == float('inf')
    images = [content['batches'][-1]['source']['inputs'][0] for content in (good, bad)]
    assert not torch.equal(*images), 'each process writes its own batch'


def test_both_stop(answers):
    for first in answers[1]['stopped']:
        assert 'stopped at iteration 1' in first['error']
    first, second = (pair['error'] for pair in answers[1]['stopped'])
    assert 'losses         a loss of another process is not finite' in first
    assert 'losses         fragile.loss_fragile is inf' in second
    assert 'Check\n  - the objective behind fragile.loss_fragile' in second


def test_pseudo_labels_are_counted_together(answers):
    first, second = answers[1]['loss']
    assert first['collapse'] == second['collapse']
    assert sum(first['collapse']['mean'][:19]) == pytest.approx(2 * 2 * 32 * 32), 'two images of each of two processes'
