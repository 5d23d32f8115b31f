"""The hook that drives and reports the threshold, within mmengine's Runner."""

import math

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_camix.engine.hooks import DynamicThresholdHook
from tests.models import tiny
from tests.world import config

DETERMINISTIC = dict(passes=2, form='official', bound='classes')


class Spy(Hook):
    """The scalars after each iteration; runs after the hooks of normal priority."""

    priority = 'LOWEST'

    def __init__(self):
        self.logged, self.entropies = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scalars = runner.message_hub.log_scalars
        self.logged.append({key.removeprefix('train/significance/'): value.current()
                            for key, value in scalars.items() if key.startswith('train/significance/')})
        self.entropies.append(runner.model.pseudo_labels.significance.entropy.clone())


def train(world, folder, hook, significance=DETERMINISTIC, max_iters=4, method='CAMix'):
    cfg = config(world, folder, method, segmentor=tiny.small(num_classes=19, dropout=0.0), max_iters=max_iters)
    cfg.custom_hooks.append(dict(type='DynamicThresholdHook', **hook))
    if method == 'CAMix':
        cfg.model.pseudo_labels = dict(significance=dict(significance))
    runner, spy = Runner.from_cfg(cfg), Spy()
    if method == 'CAMix':
        runner.register_hook(spy)
    runner.train()
    return runner, spy


def threshold(t, t_max):
    return (0.75 + 0.25 * math.exp(-5 * (1 - min(t / t_max, 1)) ** 2)) * math.log(19)


@pytest.mark.parametrize(('hook', 'own', 'end'), [({}, {}, 4), (dict(t_max=2), {}, 2), ({}, dict(t_max=3), 3),
                                                  (dict(t_max=3), dict(t_max=3), 3)])
def test_it_drives_the_threshold(world, tmp_path, hook, own, end):
    _, spy = train(world, tmp_path, hook, {**DETERMINISTIC, **own})
    thresholds = [float(item['threshold']) for item in spy.logged]
    assert thresholds == pytest.approx([threshold(t, end) for t in range(4)], rel=1e-5)
    assert len(set(thresholds)) == min(end + 1, 4)


def test_it_logs_the_kept_share_and_quantiles(world, tmp_path):
    runner, spy = train(world, tmp_path, dict(interval=2, levels=(0.0, 0.5, 1.0)), max_iters=3)
    for item, entropy in zip(spy.logged, spy.entropies):
        kept = (entropy < float(item['threshold'])).float().mean().item()
        assert float(item['kept']) == pytest.approx(kept)
    assert 'entropy_q50' not in spy.logged[0]  # reported every second step
    entropy = spy.entropies[1].flatten().sort().values
    expected = [entropy[0].item(), entropy[round((len(entropy) - 1) / 2)].item(), entropy[-1].item()]
    assert [spy.logged[1][f'entropy_q{level}'] for level in (0, 50, 100)] == pytest.approx(expected)
    assert spy.logged[2]['entropy_q50'] == spy.logged[1]['entropy_q50']
    assert not any('loss' in key for key in spy.logged[2]), 'entries named loss would be trained on'
    log = (next(p for p in tmp_path.iterdir() if p.is_dir()) / f'{runner.timestamp}.log').read_text()
    assert 'significance/entropy_q50' in log
    assert 'significance/kept' in log


def test_a_method_without_significance(world, tmp_path):
    runner, _ = train(world, tmp_path, dict(interval=1), method='DACS', max_iters=1)
    assert not [key for key in runner.message_hub.log_scalars if 'entropy' in key]


def test_two_ends_of_one_ramp(world, tmp_path):
    with pytest.raises(ValueError, match=r't_max=7, but pseudo_labels.significance has t_max=3; set only one of them'):
        train(world, tmp_path, dict(t_max=7), dict(t_max=3))
    with pytest.raises(ValueError, match='t_max=0 must be at least 1; None is the end of the training'):
        DynamicThresholdHook(t_max=0)


def test_levels_are_shares():
    with pytest.raises(ValueError, match=r'levels=\(50,\) must lie in \[0, 1\]'):
        DynamicThresholdHook(levels=[50])
