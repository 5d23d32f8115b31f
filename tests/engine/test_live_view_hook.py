"""The live view is written at the right iterations, to all backends, and leaves the training as it was."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_camix.engine.hooks import LiveViewHook
from mmseg_camix.engine.monitoring import add_backends
from tests.engine.fragile import same
from tests.models import tiny
from tests.world import QUIET, config


def train(folder, world, live, method='DACS', max_iters=4, **changes):
    cfg = config(world, folder, method, max_iters=max_iters, **QUIET, **changes)
    if live is not None:
        cfg.custom_hooks.append(dict(type='LiveViewHook', **live))
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_within_a_training(world, tmp_path):
    """Files at the right iterations; weights are those of a training without pictures, to the last bit."""
    drawn = train(tmp_path / 'shown', world, dict(interval=2, width=48))
    plain = train(tmp_path / 'plain', world, None)
    files = {file.name for file in (tmp_path / 'shown/live').iterdir()}
    assert files == {'iter_1.png', 'iter_2.png', 'iter_4.png'}
    assert same(dict(drawn.model.state_dict()), dict(plain.model.state_dict()))
    picture = cv2.imread(str(tmp_path / 'shown/live/iter_4.png'))
    assert picture.shape[0] > 3 * 48
    assert not list(tmp_path.rglob('vis_image')), 'the local backend would write it again'


@pytest.mark.skipif(importlib.util.find_spec('tensorboard') is None, reason='tensorboard is not installed')
def test_tensorboard(world, tmp_path):
    """The real backend, read again with TensorBoard's own reader: curves and pictures."""
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator
    cfg = Config(dict(work_dir='x'))
    add_backends(cfg, ['tensorboard'])
    assert [item.type for item in cfg.visualizer.vis_backends] == ['LocalVisBackend', 'TensorboardVisBackend']
    train(tmp_path, world, dict(interval=2, width=48, first=False), visualizer=cfg.visualizer, max_iters=2)
    events = EventAccumulator(str(next(tmp_path.rglob('events.out*')).parent), {IMAGES: 0}).Reload()
    image, = events.Images('live')
    assert image.step == 2
    decoded = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, cv2.imread(str(tmp_path / 'live/iter_2.png')))
    assert [item.step for item in events.Scalars('loss')] == [1, 2]
    assert 'pseudo/q' in events.Tags()['scalars']


def test_weights_and_biases(world, tmp_path, monkeypatch):
    """mmengine's backend with a stand-in for the package: project and name, curves and pictures."""
    logged, started = [], []
    fake = ModuleType('wandb')
    fake.__spec__ = importlib.util.spec_from_loader('wandb', None)
    fake.init = lambda **arguments: started.append(arguments)
    fake.log = lambda values, **arguments: logged.append(values)
    fake.Image = lambda picture: ('picture', picture.shape)
    fake.config = SimpleNamespace(update=lambda *args, **kwargs: None)
    fake.run = SimpleNamespace(log_code=lambda **arguments: None)
    fake.define_metric = fake.watch = lambda *args, **kwargs: None
    fake.join = lambda: None
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    monkeypatch.delenv('WANDB_PROJECT', raising=False)
    cfg = Config(dict(work_dir='work_dirs/dacs/x'))
    add_backends(cfg, ['wandb'])
    train(tmp_path, world, dict(interval=2, width=48, first=False), visualizer=cfg.visualizer, max_iters=2)
    assert started[0]['project'] == 'mmseg_camix'
    assert started[0]['name'] == 'dacs/x'
    pictures = [item['live'] for item in logged if 'live' in item]
    assert len(pictures) == 1
    assert pictures[0][0] == 'picture'
    assert any('loss' in item for item in logged)


def test_backends_are_added_once(monkeypatch):
    monkeypatch.setattr('mmseg_camix.engine.monitoring.find_spec', lambda name: True)
    monkeypatch.setenv('WANDB_PROJECT', 'mine')
    cfg = Config(dict(work_dir='x', visualizer=dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend')])))
    add_backends(cfg, ['wandb', 'tensorboard'])
    add_backends(cfg, ['tensorboard'])
    assert cfg.visualizer == dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend'),
                                                                   dict(type='TensorboardVisBackend')])
    with pytest.raises(SystemExit, match="--vis: 'aim' is none of tensorboard, wandb"):
        add_backends(cfg, ['aim'])
    monkeypatch.setattr('mmseg_camix.engine.monitoring.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='--vis wandb needs the package wandb: pip install wandb'):
        add_backends(cfg, ['wandb'])


def hook_on(model, folder, **arguments):
    from mmengine.logging import MessageHub
    runner = SimpleNamespace(
        model=model, iter=0, max_iters=9, rank=0, work_dir=str(folder), message_hub=MessageHub(str(folder)),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={})), visualizer=None)
    hook = LiveViewHook(width=48, **arguments)
    hook.before_train(runner)
    return hook, runner


def test_a_data_set_without_names_and_colours(tmp_path):
    """Classes are numbered and coloured; after the training no further picture is made."""
    model = tiny.method('DACS')
    hook, runner = hook_on(model, tmp_path)
    for _ in range(2):
        hook.before_train_iter(runner, 0)
        tiny.losses_of(model, tiny.batch())
        hook.after_train_iter(runner, 0)
        hook.after_train(runner)
        runner.iter = 8
    assert [file.name for file in tmp_path.rglob('*.png')] == ['iter_1.png']
    colours = cv2.imread(str(tmp_path / 'live/iter_1.png')).reshape(-1, 3)
    assert len(np.unique(colours[np.ptp(colours, 1) > 100], axis=0)) >= 3, 'colours of classes'


def test_a_full_disk_is_logged_and_other_ranks_draw_nothing(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmseg_camix.visualization.sheets.write_png',
                        Mock(side_effect=OSError(28, 'No space left on device')))
    monkeypatch.setattr('mmseg_camix.engine.hooks.live_view_hook.print_log', lambda line, *args: lines.append(line))
    model = tiny.method('DACS')
    hook, runner = hook_on(model, tmp_path)
    for runner.rank in (0, 1):
        hook.before_train_iter(runner, 0)
        tiny.losses_of(model, tiny.batch())
        assert (hook._tap._step is None) == (runner.rank == 1)
        hook.after_train_iter(runner, 0)
        assert hook._tap._step is None, 'a step holds images and features'
    assert len(lines) == 1
    assert 'No space left on device' in lines[0]


def test_a_plain_model_is_reported_and_has_no_pictures(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmseg_camix.engine.hooks.live_view_hook.print_log', lambda line, *args: lines.append(line))
    hook, runner = hook_on(tiny.build(tiny.small()), tmp_path)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)
    assert 'EncoderDecoder is a plain' in lines[0]
    assert not list(tmp_path.iterdir())


def test_bad_arguments():
    with pytest.raises(ValueError, match='interval=0 and images=2 must be at least 1, width=192 at least 32'):
        LiveViewHook(interval=0)
