"""Evaluation of both networks in one pass, and its numbers against mmseg's own."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_camix.datasets import RawCityscapesDataset
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.engine.loops import predicting_with
from tests.evaluation.test_results import stock
from tests.models import tiny
from tests.world import VAL, config


def runner_of(world, tmp_path, method='DACS', **changes):
    """Networks that differ, so that neither number can be taken for the other."""
    runner = Runner.from_cfg(config(world, tmp_path, method, **changes))
    tiny.randomised(runner.model, 3)
    if getattr(runner.model, 'teacher', None) is not None:
        runner.model.teacher.steps.fill_(1)  # as after a training
    return runner


@pytest.mark.parametrize('predict_with', ['student', 'teacher'])
def test_both_networks_and_the_one_that_predicts(world, tmp_path, predict_with):
    runner = runner_of(world, tmp_path)
    runner.model.predict_with = predict_with
    metrics = runner.test()
    dataset = runner.test_dataloader.dataset
    expected = {name: stock(runner.model.network(name), dataset) for name in ('student', 'teacher')}
    assert expected['student']['mIoU'] != expected['teacher']['mIoU']
    for name, own in expected.items():
        for key in ('mIoU', 'aAcc', 'mAcc'):
            assert metrics[f'{name}/{key}'] == pytest.approx(own[key]), (name, key)
    assert metrics['mIoU'] == metrics[f'{predict_with}/mIoU']
    assert metrics['IoU.road'] == metrics[f'{predict_with}/IoU.road']
    assert runner.model.predict_with == predict_with


def test_each_table_is_labelled(world, tmp_path):
    runner_of(world, tmp_path).test()
    log = next(tmp_path.rglob('*.log')).read_text()
    parts = log.split('results of the ')[1:]
    assert [part.split(':')[0] for part in parts] == ['student', 'teacher']
    assert all('per class results' in part for part in parts)


def test_a_plain_segmentor_is_evaluated_as_it_is(world, tmp_path):
    runner = runner_of(world, tmp_path, None, custom_hooks=[])
    metrics = runner.test()
    assert metrics['mIoU'] == pytest.approx(stock(runner.model, runner.test_dataloader.dataset)['mIoU'])
    assert not any('/' in key for key in metrics)


@pytest.mark.parametrize('method', ['DACS', 'SourceOnly'])
def test_a_teacher_that_made_no_step_is_not_reported(world, tmp_path, method):
    """It is the student at best: so it is after the checkpoint of a plain segmentor was loaded."""
    runner = runner_of(world, tmp_path, method)
    if method == 'DACS':
        runner.model.teacher.steps.zero_()
        runner.model.predict_with = 'teacher'
    metrics = runner.test()
    assert metrics['mIoU'] == metrics['student/mIoU']
    assert not any(key.startswith('teacher') for key in metrics)


def test_validation_during_training(world, tmp_path):
    """It leaves the training in train mode and changes no state of either network."""
    recorded, states = [], []

    class Around(Hook):
        def before_val(self, runner):
            states.append(copy.deepcopy(runner.model.state_dict()))

        def after_val_epoch(self, runner, metrics=None):
            recorded.append((runner.iter, metrics['teacher/mIoU'], metrics['student/mIoU'], metrics['mIoU']))
            for key, value in runner.model.state_dict().items():
                assert torch.equal(value, states[-1][key]), key

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            assert runner.model.student.training
            assert runner.model.teacher.model.backbone.norm.training

    runner = Runner.from_cfg(config(world, tmp_path, max_iters=3, val_interval=2))
    runner.register_hook(Around())
    runner.train()
    assert [item[0] for item in recorded] == [2, 3]  # also at the end
    assert all(item[2] == item[3] for item in recorded)


def test_validation_before_the_first_step_of_the_teacher(world, tmp_path):
    """Gradients are accumulated; the teacher is a copy of the student, whose score `save_best` may name."""
    cfg = config(world, tmp_path, max_iters=2, val_interval=1)
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.default_hooks.checkpoint.save_best = 'teacher/mIoU'
    Runner.from_cfg(cfg).train()
    assert [sorted(entry['metrics'])[-1] for entry in read_record(tmp_path)['val']] == ['teacher/mIoU'] * 2


def test_hooks_are_called_as_mmengine_calls_them(world, tmp_path):
    calls = []

    class Recorder(Hook):
        def before_test_iter(self, runner, batch_idx, data_batch=None):
            assert len(data_batch['inputs']) == 1
            calls.append(('before', batch_idx))

        def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            # The batch is as the loader gave it, and the outputs those of the network that predicts.
            assert data_batch['inputs'][0].dtype == torch.uint8
            model = runner.model
            expected = model.network('teacher').test_step(copy.deepcopy(data_batch))
            assert torch.equal(outputs[0].pred_sem_seg.data, expected[0].pred_sem_seg.data)
            calls.append(('after', batch_idx))

        def before_test(self, runner):
            calls.append('before_test')

        def before_test_epoch(self, runner):
            calls.append('before_test_epoch')

        def after_test_epoch(self, runner, metrics=None):
            assert metrics['mIoU'] == metrics['teacher/mIoU']
            calls.append('after_test_epoch')

        def after_test(self, runner):
            calls.append('after_test')

    runner = runner_of(world, tmp_path)
    runner.model.predict_with = 'teacher'
    runner.register_hook(Recorder())
    runner.test()
    iterations = [(when, i) for i in range(VAL) for when in ('before', 'after')]
    assert calls == ['before_test', 'before_test_epoch', *iterations, 'after_test_epoch', 'after_test']


def test_images_are_read_once(world, tmp_path, monkeypatch):
    runner = runner_of(world, tmp_path)
    reads = []
    inner = RawCityscapesDataset.prepare_data
    monkeypatch.setattr(RawCityscapesDataset, 'prepare_data', lambda self, i: reads.append(i) or inner(self, i))
    metrics = runner.test()
    assert reads == list(range(VAL))
    assert runner.test() == metrics, 'no result is left over from the evaluation before'


def test_predicting_with_restores_after_an_error():
    model = tiny.method('DACS', tiny.per_pixel())
    recorded = []
    with pytest.raises(ZeroDivisionError), predicting_with(model, 'teacher'):
        raise ZeroDivisionError(recorded.append(model.predict_with))
    assert recorded == ['teacher']
    assert model.predict_with == 'student'
