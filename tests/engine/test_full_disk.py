"""A full disk: checkpoints, metrics and curves that cannot be written."""

import errno
import json
import logging
import os
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.visualization import LocalVisBackend

from mmseg_camix import files
from mmseg_camix.checkpoint import CheckpointError, find_latest_checkpoint, read_checkpoint
from mmseg_camix.engine import keeping
from mmseg_camix.engine.hooks import record_hook
from mmseg_camix.engine.hooks.record_hook import RecordMetricsHook, read_record
from tests.checkpoint.training import make_runner

FULL = OSError(errno.ENOSPC, 'No space left on device')


@pytest.fixture
def full(monkeypatch):
    """A set of texts; files whose names contain one of them do not fit on the disk."""
    names, stock = set(), os.fsync

    def fsync(descriptor: int) -> None:
        if any(name in os.readlink(f'/proc/self/fd/{descriptor}') for name in names):
            raise FULL
        stock(descriptor)

    if not os.path.isdir('/proc/self/fd'):
        pytest.skip('needs /proc')
    monkeypatch.setattr(files.os, 'fsync', fsync)
    return names


@pytest.fixture
def logged(monkeypatch):
    """(level, text) of what was logged about failures."""
    lines = []
    for module in (keeping, record_hook):
        monkeypatch.setattr(module, 'print_log', lambda text, logger, level: lines.append((level, text)))
    return lines


def checkpoints(folder):
    return {file.name for file in folder.iterdir() if file.suffix in ('.pth', '.partial')}


def test_the_training_continues_and_tries_again(full, logged, tmp_path):
    full |= {'iter_4.pth', 'iter_6.pth'}
    runner = make_runner(tmp_path / 'run', 8, max_keep_ckpts=1)
    runner.train()
    assert runner.iter == 8
    assert checkpoints(tmp_path / 'run') == {'iter_8.pth'}
    assert [level for level, _ in logged] == [logging.ERROR] * 2
    first, second = (text for _, text in logged)
    assert first.startswith('the checkpoint of iteration 4 could not be written')
    assert 'No space left on device' in first
    assert 'Newest checkpoint: ' in first
    assert 'iter_2.pth. The training continues' in first
    assert '(failure 1 of at most 3 in a row)' in first
    assert '(failure 2 of at most 3 in a row)' in second


def test_the_last_whole_checkpoint_stays_the_latest(full, logged, tmp_path):
    class Look(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter + 1 == 5:
                assert checkpoints(tmp_path / 'run') == {'iter_2.pth'}
                assert find_latest_checkpoint(str(tmp_path / 'run')).endswith('iter_2.pth')

    full.add('iter_4.pth')
    runner = make_runner(tmp_path / 'run', 6, max_keep_ckpts=1)
    runner.register_hook(Look())
    runner.train()
    info = read_checkpoint(tmp_path / 'run/iter_6.pth')['message_hub']['runtime_info']
    assert info['keep_ckpt_ids'] == [2, 6]  # without 4


@pytest.mark.parametrize(('limit', 'last', 'why'), [
    ({}, 'iter_6.pth', '3 in a row have failed'),
    (dict(max_save_failures=1), 'iter_2.pth', '1 in a row have failed')])
def test_it_stops_after_too_many(full, logged, tmp_path, limit, last, why):
    full |= {f'iter_{step}.pth' for step in range(int(last[5]) if limit else 2, 20)}
    runner = make_runner(tmp_path / 'run', 20, **limit)
    with pytest.raises(CheckpointError, match=f'No space left on device.*{why}. Free disk space and start again with'):
        runner.train()
    assert runner.iter == int(last[5]) - 1


def test_failures_in_a_row_are_counted(full, logged, tmp_path):
    full |= {'iter_2.pth', 'iter_4.pth', 'iter_8.pth', 'iter_10.pth'}
    make_runner(tmp_path / 'run', 12).train()
    assert checkpoints(tmp_path / 'run') == {'iter_6.pth', 'iter_12.pth'}


def test_the_last_one_must_be_written(full, logged, tmp_path):
    full.add('iter_4.pth')
    with pytest.raises(CheckpointError, match='Newest checkpoint: .*iter_2.pth.*this was the last one'):
        make_runner(tmp_path / 'run', 4).train()
    full.clear()
    resumed = make_runner(tmp_path / 'run', 4, resume=True)
    resumed.train()
    assert resumed.iter == 4
    assert checkpoints(tmp_path / 'run') == {'iter_2.pth', 'iter_4.pth'}


def test_the_best_one_stays_until_a_better_is_written(full, logged, tmp_path):
    """The metric rises: those of iterations 4 and 6 are better than that of 2, and do not fit."""
    full |= {'best_score_iter_4', 'best_score_iter_6'}
    states = []

    class Look(Hook):
        priority = 'LOWEST'

        def after_val_epoch(self, runner, metrics=None):
            info = runner.message_hub.runtime_info
            states.append((info['best_score'], checkpoints(tmp_path / 'run') - {f'iter_{i}.pth' for i in range(9)}))

    runner = make_runner(tmp_path / 'run', 8, best=True)
    runner.register_hook(Look())
    runner.train()
    first = (1.0, {'best_score_iter_2.pth'})
    assert states == [first, first, first, (4.0, {'best_score_iter_8.pth'})]
    assert [text.split(' could')[0] for _, text in logged] == [
        'the best checkpoint of iteration 4', 'the best checkpoint of iteration 6']


def test_two_failures_at_one_iteration_count_once(full, logged, tmp_path):
    """The periodic and the best checkpoint of iteration 4."""
    full |= {'iter_4.pth'}
    make_runner(tmp_path / 'run', 6, best=True, max_save_failures=2).train()
    assert [text.split(' could')[0] for _, text in logged] == [
        'the checkpoint of iteration 4', 'the best checkpoint of iteration 4']
    assert all('(failure 1 of at most 2 in a row)' in text for _, text in logged)
    assert checkpoints(tmp_path / 'run') == {'iter_2.pth', 'iter_6.pth', 'best_score_iter_6.pth'}


def test_metrics_that_did_not_fit_are_written_with_the_next(full, logged, tmp_path):
    runner = make_runner(tmp_path / 'run', 4, best=True)
    runner.register_hook(RecordMetricsHook())
    full.add('metrics.json')

    class MakeRoom(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 3:
                full.clear()

    runner.register_hook(MakeRoom())
    runner.train()
    assert [entry['iteration'] for entry in read_record(tmp_path / 'run')['val']] == [2, 4]
    assert 'metrics.json could not be written' in logged[0][1]


def test_a_curve_that_cannot_be_written_does_not_stop_the_training(logged, tmp_path, monkeypatch):
    """mmengine's own file of losses; what failed is missing in it, and logged once."""
    backend = LocalVisBackend(str(tmp_path))
    backend.add_scalars(dict(loss=1.0), 1)
    path = backend._scalar_save_file
    with monkeypatch.context() as patch:
        def refuse(*args, **kwargs):
            raise FULL

        patch.setattr('builtins.open', refuse)
        backend.add_scalars(dict(loss=2.0), 2)
        backend.add_scalar('loss', 3.0, 3)
    backend.add_scalars(dict(loss=4.0), 4)
    lines = Path(path).read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 4]
    assert len(logged) == 1
    assert 'scalars.json could not be written' in logged[0][1]
