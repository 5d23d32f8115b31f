"""The hook that moves the teacher, within mmengine's Runner."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import TRANSFORMS

from mmseg_camix.engine.hooks import UDAHook, uda_hook
from mmseg_camix.models.step import Progress
from tests.engine.fragile import same, train, weights_of
from tests.models import tiny
from tests.world import config


@TRANSFORMS.register_module()
class EraseLabels:
    def __call__(self, results):
        results['gt_seg_map'][:] = 255
        return results


KEY = 'decode_head.conv_seg.weight'


def test_the_teacher_is_the_mean_of_the_students(world, tmp_path):
    """Through the Runner, after the optimiser's step: alpha_t = 1 - 1 / (t + 1) at the beginning."""
    _, states = train(config(world, tmp_path, max_iters=4, randomness=dict(seed=5)))
    assert [state['progress'] for state in states.after] == [Progress(t, 4, 5) for t in range(4)]
    assert [state['steps'] for state in states.after] == [1, 2, 3, 4]
    students, teachers = ([weights_of(state, name)[KEY] for state in states.after] for name in ('student', 'teacher'))
    for t in range(4):
        torch.testing.assert_close(teachers[t], torch.stack(students[:t + 1]).mean(0))
    assert not torch.equal(students[0], students[1])


def test_it_moves_only_when_the_optimiser_has(world, tmp_path):
    cfg = config(world, tmp_path, max_iters=5, optim_wrapper=dict(
        type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=0.1)))
    _, states = train(cfg)
    # mmengine makes a step at the end of the training in any case
    assert [state['steps'] for state in states.after] == [0, 1, 1, 2, 3]
    students = [weights_of(state, 'student')[KEY] for state in states.after]
    assert not torch.equal(students[0], students[1])
    assert torch.equal(students[1], students[2])


def test_before_training_the_teacher_is_the_student(world, tmp_path):
    """Weights are initialised after the teacher was made; pseudo-labels must not be those of noise."""
    first = train(config(world, tmp_path, max_iters=1))[1].before[0]
    assert same(weights_of(first, 'teacher'), weights_of(first, 'student'))


class Bare:
    """The parts of a Runner that `before_train` reads."""

    train_loop, val_loop, max_iters, iter, optim_wrapper = None, None, 1, 0, None

    def __init__(self, model, classes=None, evaluated=None):
        self.model = model
        self.train_dataloader, val = (
            SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=names) if names else {}))
            for names in (classes, evaluated))
        self.val_loop = SimpleNamespace(dataloader=val)


def test_a_teacher_with_steps_is_not_initialised():
    model = tiny.method('DACS')
    model.update_teacher()
    before = copy.deepcopy(model.teacher.state_dict())
    with torch.no_grad():
        model.student.backbone.conv.weight.add_(1)
    UDAHook().before_train(Bare(model))
    assert same(before, model.teacher.state_dict())


def test_class_counts_that_differ():
    with pytest.raises(ValueError, match=r'predicts 5 classes, but the data set has 3 \(road, sky, car\); set '
                                         r'num_classes of decode_head'):
        UDAHook().before_train(Bare(tiny.method('DACS'), ('road', 'sky', 'car')))
    UDAHook().before_train(Bare(tiny.method('DACS'), tuple('abcde')))
    UDAHook().before_train(Bare(tiny.method('DACS')))  # a data set without names of classes


def test_validation_with_the_classes_in_another_order():
    """FolderDataset orders classes by their numbers, which may differ between sets: IoU would be those of others."""
    with pytest.raises(ValueError, match='val_dataloader has the classes in the order b, a, c, d, e, but the network '
                                         'learns them as a, b, c, d, e; give both data sets one order'):
        UDAHook().before_train(Bare(tiny.method('DACS'), tuple('abcde'), list('bacde')))
    for evaluated in (list('abcde'), list('vwxyz'), None):
        UDAHook().before_train(Bare(tiny.method('DACS'), tuple('abcde'), evaluated))


@pytest.mark.parametrize(('global_batch', 'different'), [(False, 8), (True, 2)])
def test_seeds_of_ranks(monkeypatch, global_batch, different):
    """Four ranks in two trainings; with a global batch they draw the same numbers, and each takes its own rows."""
    seeds = set()
    for seed in (0, 1):
        for rank in range(4):
            monkeypatch.setattr('mmseg_camix.engine.hooks.uda_hook.get_world_size', lambda: 4)
            monkeypatch.setattr('mmseg_camix.engine.hooks.uda_hook.get_rank', lambda rank=rank: rank)
            model = tiny.method('DACS', global_batch=global_batch)
            runner = SimpleNamespace(model=model, seed=seed, iter=3, max_iters=9,
                                     message_hub=SimpleNamespace(runtime_info={}))
            UDAHook().before_train_iter(runner, 3)
            seeds.add(model.progress.seed)
    assert len(seeds) == different


@pytest.mark.parametrize(('changes', 'error', 'match'), [
    (dict(method=None), TypeError, 'UDAHook.*EncoderDecoder.*model = dict'),  # `_base_/uda.py` alone was inherited
    (dict(max_iters=0), ValueError, 'train_cfg.max_iters=0 must be at least 1'),
    (dict(max_iters=-5), ValueError, 'train_cfg.max_iters=-5 must be at least 1'),
    # It would not end its first epoch; five images in batches of two are three iterations.
    (dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=2)), ValueError,
     r"4 epochs of the source are train_cfg = dict\(_delete_=True, type='ResumableTrainLoop', max_iters=12, "
     r"val_interval=6\)")])
def test_models_and_loops_that_cannot_work_are_refused(world, tmp_path, changes, error, match):
    with pytest.raises(error, match=match):
        Runner.from_cfg(config(world, tmp_path, **changes)).train()


@pytest.mark.parametrize(('batches', 'warnings'), [('v' * 19 + 'l' + 'v' * 19, 0), ('v' * 25, 1)])
def test_source_batches_without_labels(monkeypatch, batches, warnings):
    logged = []
    monkeypatch.setattr(uda_hook, 'print_log', lambda text, *args: logged.append(text))
    unlabelled = uda_hook.UnlabelledBatches(255)
    for kind in batches:
        batch = tiny.batch(size=8, count=2)
        for sample in batch['source']['data_samples'] if kind == 'v' else ():
            sample.gt_sem_seg.data.fill_(255)
        unlabelled.update(batch)
    assert len(logged) == warnings
    assert all('20 source batches in a row have no labelled pixel' in text for text in logged)


@pytest.mark.parametrize('collate', ['pseudo_collate', 'branch_collate'])
def test_a_source_without_labels_is_logged_in_a_training(world, tmp_path, monkeypatch, collate):
    monkeypatch.setattr(uda_hook, 'MAX_UNLABELLED', 2)
    cfg = config(world, tmp_path, max_iters=2)
    cfg.train_dataloader.collate_fn = dict(type=collate)
    cfg.train_dataloader.dataset.source.pipeline.insert(2, dict(type='EraseLabels'))
    Runner.from_cfg(cfg).train()
    assert '2 source batches in a row have no labelled pixel' in next(tmp_path.rglob('*.log')).read_text()
