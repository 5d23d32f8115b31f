"""metrics.json: one entry per validation, also across interruptions."""

import json
import math
from types import SimpleNamespace

import numpy as np
from mmengine.runner import Runner

from mmseg_camix.engine.hooks import RecordMetricsHook
from mmseg_camix.engine.hooks.record_hook import read_record
from tests.world import config


def at(folder, iteration, max_iters=4, training=True, rank=0):
    loop = object() if training else {}
    return SimpleNamespace(work_dir=str(folder), iter=iteration, max_iters=max_iters, rank=rank, _train_loop=loop)


def test_entries_are_sorted_and_replaced(tmp_path):
    hook = RecordMetricsHook()
    for iteration, value in ((4, 2.0), (2, 1.0), (2, 3.0)):  # resumed from before iteration 2
        hook.after_val_epoch(at(tmp_path, iteration), dict(mIoU=value))
    record = json.loads((tmp_path / 'metrics.json').read_text())
    assert record['val'] == [dict(iteration=2, metrics=dict(mIoU=3.0)), dict(iteration=4, metrics=dict(mIoU=2.0))]
    assert record == read_record(tmp_path)


def test_finished_only_at_the_end(tmp_path):
    hook = RecordMetricsHook()
    assert read_record(tmp_path) == dict(val=[], finished=False)
    for iteration, finished in ((2, False), (4, True), (2, False)):
        hook.after_val_epoch(at(tmp_path, iteration), dict(mIoU=1.0))
        assert read_record(tmp_path)['finished'] is finished


def test_numbers_are_plain_and_nan_is_left_out(tmp_path):
    metrics = dict(a=np.float32(0.5), b=float('nan'), c=np.float64(2), d=3)
    RecordMetricsHook().after_val_epoch(at(tmp_path, 1), metrics)
    assert read_record(tmp_path)['val'][0]['metrics'] == dict(a=0.5, c=2.0, d=3.0)
    assert math.isnan(metrics['b'])


def test_a_test_keeps_the_validations(tmp_path):
    hook = RecordMetricsHook()
    hook.after_val_epoch(at(tmp_path, 4), dict(mIoU=1.0))
    hook.after_test_epoch(at(tmp_path, 0, training=False), dict(mIoU=5.0))
    record = read_record(tmp_path)
    assert record['test'] == dict(mIoU=5.0)
    assert record['finished']
    assert [entry['iteration'] for entry in record['val']] == [4]


def test_only_the_first_rank_writes(tmp_path):
    RecordMetricsHook().after_val_epoch(at(tmp_path, 1, rank=1), dict(mIoU=1.0))
    assert not (tmp_path / 'metrics.json').exists()


def test_a_new_training_keeps_the_old_record_apart(tmp_path):
    hook = RecordMetricsHook()
    hook.after_val_epoch(at(tmp_path, 4), dict(mIoU=1.0))
    RecordMetricsHook().before_train(at(tmp_path, 2))
    assert read_record(tmp_path)['finished'], 'a resumed training continues it'
    RecordMetricsHook().before_train(at(tmp_path, 0))
    assert read_record(tmp_path) == dict(val=[], finished=False)
    assert (tmp_path / 'metrics.old.json').is_file()


def test_in_a_validation_by_itself(world, tmp_path):
    Runner.from_cfg(config(world, tmp_path / 'run')).val()
    assert [entry['iteration'] for entry in read_record(tmp_path / 'run')['val']] == [0]
