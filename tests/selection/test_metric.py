"""The metric in evaluation loops, on a set without labels, and as the key of the best checkpoint."""

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.selection import SCORES, Scorer
from tests.models import tiny
from tests.world import config


def unlabelled(world, tmp_path, method='DACS', metric=None, **changes):
    """The config of a training that validates on images without labels."""
    dataset = dict(type='FolderDataset', data_root=f'{world}/cityscapes', images='leftImg8bit/val', labels=None,
                   classes=tiny.NAMES, test_mode=True, pipeline=[dict(type='LoadImage'), dict(type='PackUDAInputs')])
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
    evaluator = dict(type='UnsupervisedMetric', **(metric or {}))
    return config(world, tmp_path, method, val_dataloader=loader, test_dataloader=loader, val_evaluator=evaluator,
                  test_evaluator=evaluator, **changes)


def test_both_networks(world, tmp_path):
    runner = Runner.from_cfg(unlabelled(world, tmp_path))
    tiny.randomised(runner.model, 3).teacher.steps.fill_(1)
    metrics = runner.test()
    for name, other in (('student', 'teacher'), ('teacher', 'student')):
        scorer = Scorer(runner.model.network(name), runner.model.network(other))
        for batch in runner.test_dataloader:
            scorer.update(runner.model.data_preprocessor(batch)['inputs'])
        for score, value in scorer.results().items():
            assert metrics[f'{name}/unsupervised/{score}'] == pytest.approx(value, nan_ok=True), score
    assert metrics['unsupervised/infomax'] == metrics['student/unsupervised/infomax']
    assert metrics['unsupervised/infomax'] != metrics['teacher/unsupervised/infomax']


def test_a_plain_segmentor_has_all_scores_of_one_network(world, tmp_path):
    metrics = Runner.from_cfg(unlabelled(world, tmp_path, None, custom_hooks=[])).test()
    assert set(metrics) == {f'unsupervised/{score}' for score in SCORES if score != 'agreement'}


def test_the_best_checkpoint_and_an_unchanged_training(world, tmp_path):
    states = []
    for name, hook in (('plain', {}), ('best', dict(save_best='unsupervised/consistency', rule='greater'))):
        checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=1, **hook)
        runner = Runner.from_cfg(unlabelled(
            world, tmp_path / name, metric=dict(scores=['consistency']), max_iters=2, val_interval=1,
            default_hooks=dict(checkpoint=checkpoint)))
        if not hook:
            runner._val_loop = None
        runner.train()
        states.append(runner.model.state_dict())
    assert len(list((tmp_path / 'best').glob('best_unsupervised_consistency_iter_*.pth'))) == 1
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_loop_that_gives_no_network(world, tmp_path):
    runner = Runner.from_cfg(unlabelled(world, tmp_path, test_cfg=dict(type='TestLoop')))
    with pytest.raises(ValueError, match=r"val_cfg = dict\(type='TeacherStudentValLoop'\)"):
        runner.test()


def test_an_unknown_score(world, tmp_path):
    with pytest.raises(ValueError, match="unknown score 'mIoU'; available: entropy"):
        Runner.from_cfg(unlabelled(world, tmp_path, metric=dict(scores=['mIoU']))).test()
