"""A training that is killed, also while a checkpoint is written, and the comparison at its end."""

import os
import time

import mmengine.runner.runner as runner_module
import pytest

from benchmarks import kills
from benchmarks.kills import Kill, Process, run, summary
from mmseg_camix import files
from mmseg_camix.engine.hooks import uda_hook
from tests.world import config

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')]
SEED = 1  # its first kinds are save, step and start


@pytest.fixture
def config_file(world, tmp_path, monkeypatch):
    """A training of ten iterations with dropout, whose writes take long enough to be interrupted."""
    monkeypatch.setattr(runner_module, 'collect_env', dict)
    fsync = os.fsync
    monkeypatch.setattr(files.os, 'fsync', lambda descriptor: (time.sleep(0.1), fsync(descriptor)))
    cfg = config(world, tmp_path / 'x', max_iters=10, val_interval=4)
    cfg.train_cfg.type = 'ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=2, save_best='mIoU', rule='greater')
    cfg.dump(str(tmp_path / 'cfg.py'))
    return str(tmp_path / 'cfg.py')


def run_quietly(config_file, folder, kills):
    return run([config_file], folder, report=lambda line: None, kills=kills, iterations=10, interval=2, seed=SEED,
               fresh_every=0)


def test_a_killed_training_ends_as_an_undisturbed_one(config_file, tmp_path):
    kills, different = run_quietly(config_file, tmp_path / 'runs', 3)
    assert different == []
    assert [kill.kind for kill in kills] == ['save', 'step', 'start'][:len(kills)]
    assert len(kills) >= 2
    assert all(kill.iteration - kill.resumes_at <= 2 for kill in kills)
    assert not list((tmp_path / 'runs').rglob('.*.partial'))


def test_an_inexact_resume_is_noticed(config_file, tmp_path, monkeypatch):
    """Dropout from the generators that the start of the process has seeded."""
    monkeypatch.setattr(uda_hook, 'seed_all', lambda *key: None)
    kills, different = run_quietly(config_file, tmp_path / 'runs', 1)
    assert len(kills) == 1
    assert any(place.startswith('state_dict.student') for place in different)


def test_failures_are_errors(config_file, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match=r'did not resume \(exit code 1\); .*\n.*no config at nowhere.py'):
        run_quietly('nowhere.py', tmp_path / 'failing', 1)
    monkeypatch.setattr(Process, 'iteration', lambda self: 7)
    with pytest.raises(RuntimeError, match='more than the 2 iterations between checkpoints are lost'):
        run_quietly(config_file, tmp_path / 'losing', 1)


def test_iterations_are_read_from_the_lines_of_this_process(tmp_path, monkeypatch):
    (tmp_path / 'x.txt').write_text('Iter(train) [ 9/10]\n')
    monkeypatch.setattr(kills, '_train', lambda arguments, log: time.sleep(60))
    process = Process([], tmp_path / 'x')
    monkeypatch.setattr(kills.os, 'killpg', os.kill)  # without a group of its own
    try:
        assert process.iteration() is None
        with process.log.open('a') as log:
            log.write('Iter(train) [ 3/10] loss: 1\nIter(train) [ 4')
        assert process.iteration() == 3
        assert process.wait(lambda: True)
    finally:
        process.kill()
    with pytest.raises(RuntimeError, match='exit code -9'):
        process.wait()


def test_summary():
    kills = [Kill('save', 4, 'iter_4.pth', 2), Kill('start', 2, None, 2)]
    text = summary(kills, [], 0, 10, 2)
    for name, value in (('kills', '2'), ('that left an unfinished checkpoint behind', '1'),
                        ('iterations lost by a kill: mean, maximum', '1.0, 2')):
        assert f'| {name} | {value} |' in text
    assert 'at the end | **bit for bit' in text
    assert '**DIFFERENT: optimizer.state**' in summary(kills, ['optimizer.state'], 0, 10, 2)
