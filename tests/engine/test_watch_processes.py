"""Two processes decide alike, although only one of them has seen what is wrong."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix.engine.watch.diagnosis import NonFiniteError
from mmseg_camix.engine.watch.evidence import load_evidence
from mmseg_camix.engine.watch.replay import rebuilt, replay
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
    assert one['counts'] == other['counts'] == dict(skipped=1, consecutive=0, overflows=0, saved=1)
    assert one['stood_still'] == other['stood_still']
    if case != 'gathered':
        assert one['stood_still'] == [False, True, False]
    assert one['last'].keys() == other['last'].keys()
    assert all(torch.equal(value, other['last'][key]) for key, value in one['last'].items())
    assert all(value.isfinite().all() for value in one['last'].values())
    files = sorted(file.name for file in (folder / case / 'nonfinite').iterdir())
    assert files == ['iter_1.pth', 'iter_1_rank1.pth', 'iter_1_weights.pth']
    mine, bad = (load_evidence(folder / case / f'nonfinite/iter_1{name}.pth') for name in ('', '_rank1'))
    assert (mine['rank'], bad['rank'], bad['world_size']) == (0, 1, 2)
    assert mine['found']['terms']['fragile.loss_fragile'] == 0
    assert not torch.tensor(bad['found']['terms']['fragile.loss_fragile']).isfinite()


@pytest.mark.parametrize(('name', 'breaks'), [('iter_1', False), ('iter_1_rank1', True)])
def test_each_process_is_replayed_by_its_own_file(answers, world, name, breaks):
    """Batch, seed and statistics are its own, the weights are those of both."""
    folder, _ = answers
    found, report = replay(config_of('loss', world, folder), folder / f'loss/nonfinite/{name}.pth')
    assert found is breaks
    assert f'rank {int(breaks)} of 2' in report
    assert '(was' not in report
    assert report.count('fragile.loss_fragile: inf') == breaks


def test_buffers_are_those_of_the_process(answers, world):
    """Running statistics differ; only those of the first process are with the weights."""
    folder, _ = answers
    name = 'student.backbone.norm.running_mean'
    found = []
    for file in ('iter_1.pth', 'iter_1_rank1.pth'):
        saved = load_evidence(folder / 'loss/nonfinite' / file)
        model = rebuilt(config_of('loss', world, folder), saved, folder / 'loss/nonfinite/iter_1_weights.pth',
                        torch.device('cpu'))
        found.append(model.state_dict()[name])
        assert torch.equal(found[-1], saved['buffers'][name])
    assert not torch.equal(*found)


def test_both_stop(answers):
    for one in answers[1]['stopped']:
        assert 'stopped in iteration 1: 1 steps in a row (1 in all)' in one['error']
    one, other = (pair['error'] for pair in answers[1]['stopped'])
    assert 'losses     not finite in another process' in one
    assert 'losses     fragile.loss_fragile is inf' in other
    assert 'Look at\n  - the objective behind fragile.loss_fragile' in other


def test_pseudo_labels_are_counted_together(answers):
    one, other = answers[1]['loss']
    assert one['collapse'] == other['collapse']
    assert sum(one['collapse']['mean'][:19]) == pytest.approx(2 * 2 * 32 * 32), 'two images of each of two processes'
