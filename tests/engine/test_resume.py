"""N iterations and N more after resuming equal 2 N, bit for bit."""

import itertools
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner
from torch import distributed

from benchmarks.same_run import comparable, differences, unequal
from mmseg_camix.datasets import CLASSES
from mmseg_camix.engine import processes
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.engine.loops import VALIDATED
from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix_tools.commands import train as train_command
from tests.gloo import run_in_pair
from tests.models import tiny
from tests.models.camix_tiny import save_prior
from tests.world import SIZE, config, pipeline

_NUMBERS = itertools.count()


def checkpoints(every=3, **options):
    return dict(logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=every, **options))


def training(world, folder, method='DACS', workers=0, few=0, **changes):
    """Six iterations, with dropout unless another network is given."""
    cfg = config(world, folder / 'x', method, changes.pop('segmentor', None), 6,
                 **{'default_hooks': checkpoints(), **changes})
    cfg.train_cfg.type = 'ResumableTrainLoop'
    if method == 'CAMix':
        cfg.model.masks = dict(context=dict(prior=save_prior(folder / 'prior.npz', CLASSES, SIZE)))
        cfg.model.pseudo_labels = dict(significance=dict(passes=2))
    if method == 'DSP':
        _add_long_tail(cfg, world)
    if method == 'SourceFree':
        cfg.train_dataloader.dataset.source = None
        torch.save(dict(state_dict=tiny.build(cfg.model.segmentor).state_dict()), folder / 'trained.pth')
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=str(folder / 'trained.pth'))
    if few:
        source = cfg.train_dataloader.dataset.source
        cfg.train_dataloader.dataset.few = dict(source, ann_file='', spread=few)
        cfg.model.update(backward='each', branches=['source', 'target', 'few'],
                         objectives=dict(few=dict(type='SupervisedLoss', view='few')))
    return with_workers(cfg, workers)


def with_workers(cfg, workers):
    cfg = Config(cfg.to_dict())
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    return cfg


def _add_long_tail(cfg, world):
    load = pipeline(True)
    crop = dict(type='CropWithClass', crop_size=(32, 32))
    data = dict(type='GTADataset', data_root=f'{world}/gta', ann_file='train.txt',
                pipeline=[*load[:2], crop, *load[3:]])
    cfg.train_dataloader.dataset.update(
        donor=cfg.train_dataloader.dataset.source, rare=dict(type='LongTailDataset', classes=5, k=2, dataset=data))


def train(cfg, folder, resume=False, hooks=()):
    # mmengine reuses the message hub of an experiment with the same name in the same second.
    name = f'{folder.parent.name}_{folder.name}_{next(_NUMBERS)}'
    runner = Runner.from_cfg(Config(dict(cfg.to_dict(), work_dir=str(folder), resume=resume, experiment_name=name)))
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def log_of(folder):
    return ''.join(file.read_text() for file in sorted(folder.rglob('*.log')))


def begun(whole, parts, iteration=3):
    """A work folder as it stood at an iteration."""
    parts.mkdir()
    shutil.copy(whole / f'iter_{iteration}.pth', parts)
    return parts


def transformer():
    """A SegFormer with drop path and dropout."""
    cfg = tiny.segmentors()['SegFormer']
    return dict(cfg, backbone=dict(cfg['backbone'], drop_path_rate=0.5),
                decode_head=dict(cfg['decode_head'], num_classes=19, dropout_ratio=0.5))


def test_without_a_checkpoint_to_resume_the_given_weights_are_loaded(tmp_path):
    for checkpoint, expected in (('auto', (False, 'given.pth')), ('other.pth', (True, 'other.pth'))):
        cfg = Config(dict(work_dir=str(tmp_path), load_from='given.pth', resume=False))
        train_command._resume(cfg, checkpoint)
        assert (cfg.resume, cfg.load_from) == expected
    cfg.load_from = 'given.pth'
    torch.save({}, tmp_path / 'iter_3.pth')
    train_command._resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, None)


@pytest.mark.parametrize(('method', 'workers', 'later', 'changes'), [
    ('DACS', 0, 0, dict(val_interval=2)),
    ('CAMix', 2, 2, {}),
    ('DSP', 0, 2, {}),
    ('RCCR', 2, 0, {}),
    ('MIC', 0, 0, {}),
    ('SourceFree', 0, 0, {}),
    ('DACS', 0, 0, dict(segmentor=transformer())),
    ('DACS', 2, 0, dict(few=2)),
], ids=['DACS, validated', 'CAMix', 'DSP, more workers', 'RCCR, fewer workers', 'MIC', 'SourceFree', 'drop path',
        'few labels'])
def test_three_and_three_are_six(world, tmp_path, method, workers, later, changes):
    cfg = training(world, tmp_path, method, workers, **changes)
    train(cfg, tmp_path / 'whole')
    parts = begun(tmp_path / 'whole', tmp_path / 'parts')
    if changes.get('val_interval'):  # whose first entry is older than the checkpoint
        shutil.copy(tmp_path / 'whole/metrics.json', parts)
    train(with_workers(cfg, later), parts, resume=True)
    assert differences(tmp_path / 'whole', parts) == []
    early, late = (torch.load(tmp_path / f'whole/iter_{i}.pth', weights_only=True) for i in (3, 6))
    changed = [place for place in unequal(comparable(early), comparable(late)) if place.startswith('state_dict.')]
    assert len(changed) > len(early['state_dict']) / 2


@pytest.mark.parametrize(('count', 'stop', 'pending', 'backward'), [
    (2, 3, True, 'each'), (2, 4, False, 'summed'), (3, 2, True, 'summed')])
def test_between_the_iterations_of_an_accumulation(world, tmp_path, count, stop, pending, backward):
    """With unused gradients, without, and within the first step: the teacher must not be initialised a second time."""
    cfg = training(world, tmp_path, default_hooks=checkpoints(1), optim_wrapper=dict(
        type='OptimWrapper', accumulative_counts=count, optimizer=dict(type='AdamW', lr=0.01)))
    cfg.model.backward = backward
    train(cfg, tmp_path / 'whole')
    parts = begun(tmp_path / 'whole', tmp_path / 'parts', stop)
    saved = torch.load(parts / f'iter_{stop}.pth', weights_only=True)
    assert ('ranks' in saved) == pending
    train(cfg, parts, resume=True)
    assert differences(tmp_path / 'whole', parts) == []


@pytest.mark.parametrize('backward', ['summed', 'each'])
def test_the_scale_of_mixed_precision(world, tmp_path, monkeypatch, backward):
    """mmengine's wrapper, which requires a GPU, with the scaler and the passes of a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    scale = dict(init_scale=4.0, growth_interval=2)
    cfg = training(world, tmp_path, optim_wrapper=dict(
        type='AmpOptimWrapper', dtype='bfloat16', loss_scale=scale, optimizer=dict(type='AdamW', lr=0.01)))
    cfg.model.backward = backward
    runner = train(cfg, tmp_path / 'whole')
    assert runner.model.loss_scaler is runner.optim_wrapper.loss_scaler
    scales = [torch.load(tmp_path / f'whole/iter_{i}.pth', weights_only=True)['optimizer']['loss_scaler']['scale']
              for i in (3, 6)]
    assert scales == [8.0, 32.0]  # doubled after 2, 4 and 6 iterations
    train(cfg, begun(tmp_path / 'whole', tmp_path / 'parts'), resume=True)
    assert differences(tmp_path / 'whole', tmp_path / 'parts') == []


def _resumed_in_a_pair(rank, cfg, folder):
    """Differences of this process to an uninterrupted training, and its memory bank."""
    cfg = Config(cfg.to_dict())
    prepare_launch(cfg, 'pytorch')
    states = []
    for name in ('whole', 'parts'):
        if rank == 0 and name == 'parts':
            begun(folder / 'whole', folder / 'parts')
        distributed.barrier()
        model = train(cfg, folder / name, resume=name == 'parts').model
        states.append({key: value.clone() for key, value in model.module.state_dict().items()})
    return dict(differences=list(unequal(*states)), bank=states[0]['objectives.contrast.bank.embeddings'])


def test_two_processes_with_accumulated_gradients(world, tmp_path):
    """Each has its own gradients, statistics, memory bank and dropout; one of them writes the checkpoint."""
    cfg = training(world, tmp_path, 'RCCR', default_hooks=checkpoints(1), optim_wrapper=dict(
        type='OptimWrapper', accumulative_counts=2, optimizer=dict(type='AdamW', lr=0.01)))
    cfg.train_dataloader.batch_size = 1
    pair = run_in_pair(dict(job=partial(_resumed_in_a_pair, cfg=cfg, folder=tmp_path)), tmp_path)['job']
    assert [result['differences'] if isinstance(result, dict) else result for result in pair] == [[], []]
    assert not torch.equal(pair[0]['bank'], pair[1]['bank'])
    assert differences(tmp_path / 'whole', tmp_path / 'parts') == []


@pytest.mark.parametrize(('before', 'now'), [(1, 2), (2, 1)])
def test_another_number_of_processes_is_logged(monkeypatch, before, now):
    logged, model = [], tiny.method('DACS')
    monkeypatch.setattr(processes, 'get_world_size', lambda: now)
    monkeypatch.setattr(processes, 'print_log', lambda text, *args: logged.append(text))
    states = [dict(gradients={name: torch.ones_like(p) for name, p in model.named_parameters()})] * before
    assert not processes.restore_rank_state(SimpleNamespace(model=model), states)
    assert logged[0].startswith(f'The checkpoint was written by {before} processes and is resumed by {now}')
    assert all(p.grad is None for p in model.parameters())


def test_an_unset_seed(world, tmp_path):
    """It is drawn when the training starts, and resumed for data and steps."""
    cfg = training(world, tmp_path, randomness=dict(seed=None, diff_rank_seed=True))
    train(cfg, tmp_path / 'whole')
    train(cfg, begun(tmp_path / 'whole', tmp_path / 'parts'), resume=True)
    assert differences(tmp_path / 'whole', tmp_path / 'parts') == []


class Stopped(Exception):
    """Raised by hooks to end a training."""


@HOOKS.register_module()
class StopAt(Hook):
    """Ends a training within an iteration, after all other hooks."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.iteration:
            raise Stopped


class StopBeforeValidating(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_val(self, runner):
        if runner.iter == self.iteration:
            raise Stopped


@METRICS.register_module()
class Rising(BaseMetric):
    """A score that rises with the iteration, so that each validation is the best so far."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=MessageHub.get_current_instance().get_info(VALIDATED))


@pytest.mark.parametrize('iteration', [2, 6], ids=['in the middle', 'at the end'])
@pytest.mark.parametrize('metric', [None, 'Rising'], ids=['mIoU', 'always better'])
def test_a_validation_that_was_due_is_made_up_for(world, tmp_path, iteration, metric):
    """Stopped between writing a checkpoint and validating it; a new best score belongs into that checkpoint."""
    best = dict(save_best='mIoU', rule='greater') if metric is None else dict(save_best='score', rule='greater')
    cfg = training(world, tmp_path, val_interval=2, default_hooks=checkpoints(2, **best))
    if metric is not None:
        cfg.val_evaluator = dict(type=metric)
    train(cfg, tmp_path / 'whole')
    with pytest.raises(Stopped):
        train(cfg, tmp_path / 'parts', hooks=[StopBeforeValidating(iteration)])
    validated = [entry['iteration'] for entry in read_record(tmp_path / 'parts')['val']]
    assert iteration not in validated
    train(cfg, tmp_path / 'parts', resume=True)
    assert differences(tmp_path / 'whole', tmp_path / 'parts') == []
    assert read_record(tmp_path / 'parts')['finished']
    best = [{file.name for file in (tmp_path / name).glob('best_*')} for name in ('whole', 'parts')]
    assert best[0] == best[1]
    assert len(best[0]) == 1
    if metric is not None:
        hubs = [torch.load(tmp_path / name / 'iter_6.pth', weights_only=True)['message_hub']
                for name in ('whole', 'parts')]
        assert [hub['runtime_info']['best_score'] for hub in hubs] == [6, 6]
        curves = [hub['log_scalars']['val/score']['log_history'].tolist() for hub in hubs]
        assert curves[0] == curves[1]
        assert curves[0][-1] == 6


def test_what_differs_is_named():
    first = dict(a=[1, torch.tensor([1.0, float('nan')])], b=dict(c=float('nan')), d=1)
    assert list(unequal(first, first)) == []
    second = dict(a=[1, torch.tensor([-1.0, float('nan')])], b=dict(c=0.5, e=1), d=True)
    assert list(unequal(first, second)) == ['a[1]', 'b.c', 'b.e (in one of them only)', 'd']
    assert list(unequal(torch.tensor(0.0), torch.tensor(-0.0), 'zero')) == ['zero']
    assert list(unequal([1], [1, 2], 'list')) == ['list']


def test_resuming_a_complete_training_says_so(world, tmp_path):
    cfg = training(world, tmp_path)
    train(cfg, tmp_path / 'run')
    assert 'this training is complete' not in log_of(tmp_path / 'run')
    train(cfg, tmp_path / 'run', resume=True)
    assert 'this training is complete (6 of 6 iterations); raise train_cfg.max_iters' in log_of(tmp_path / 'run')
