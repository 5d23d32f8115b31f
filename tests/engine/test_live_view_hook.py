"""Pictures of steps: what they show is what the step has made, wherever they go, and nothing is disturbed by them."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix.engine.hooks import LiveViewHook
from mmseg_camix.engine.monitoring import show_in
from mmseg_camix.engine.watch.step_tap import StepTap
from mmseg_camix.visualization import live_picture, sheets
from mmseg_camix.visualization.panels import Panel, panels_of
from tests.engine.fragile import same
from tests.models import dsp_tiny, tiny
from tests.world import config

QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
VIEWS = {
    'SourceOnly': [], 'PseudoLabelling': ['strong'], 'MeanTeacher': ['strong'], 'NaiveClassMix': ['mixed'],
    'CutMix': ['mixed'], 'CowMix': ['mixed'], 'DACS': ['mixed'], 'iDACS': ['mixed'], 'CAMix': ['mixed'],
    'DSP': ['mixed_source', 'mixed_target'], 'RCCR': ['mixed', 'cut'], 'DAFormer': ['mixed'], 'iDAFormer': ['mixed']}


def looked_at(method, **arguments):
    if method.endswith('DAFormer'):
        arguments = dict(pseudo_labels=dict(ignore_top=1, ignore_bottom=2), objectives=dict(features=dict(things=None)))
    model = tiny.method(method, **arguments)
    tap = StepTap(model)
    tap.want()
    data = dsp_tiny.batch_of(0, 32, 2)
    tiny.losses_of(model, {branch: data[branch] for branch in model.branches})
    return model, tap.take()


@pytest.mark.parametrize('method', VIEWS)
def test_every_method_has_a_picture(method):
    """Source, target, and what the student sees besides; the names do not run into the tiles."""
    model, step = looked_at(method)
    panels = panels_of(step, model, PALETTE, 2)
    assert [panel.name for panel in panels] == ['source', 'target', *VIEWS[method]]
    layout = live_picture._Layout.of(panels, 64)
    picture = live_picture.compose(panels, method, 'iteration 1 of 2', CLASSES, PALETTE, 64)
    assert picture.dtype == np.uint8
    assert picture.shape[1] >= layout.right
    for row in range(len(panels)):
        x, y = layout.place(0, 0, row)
        assert (picture[y:y + 64, x - 6:x - 1] == 255).all(), 'white between the name and the first tile'


def test_panels_show_what_the_step_made():
    model, step = looked_at('CAMix', pseudo_labels=dict(threshold=0.25, significance=dict(passes=2, beta=0.9)))
    source, target, mixed = panels_of(step, model, PALETTE, 2)
    view = step.views['mixed'].target
    assert 0 < float(step.views['target'].target.weight.max()) < 1
    for index in range(2):
        expected = sheets.bgr(step.views['mixed'].image[index], tiny.MEAN, tiny.STD, 'rgb')
        assert np.array_equal(mixed.images[index], expected)
        assert np.array_equal(mixed.regions[index], step.masks['context'][index, 0].numpy())
        assert np.array_equal(mixed.weights[index], view.weight[index].numpy())
        assert np.array_equal(mixed.significance[index], view.significance[index].numpy() == 1)
        label = step.views['source'].target.label[index]
        for y, x in ((0, 0), (5, 9), (31, 30)):
            colour = (0, 0, 0) if label[y, x] == 255 else PALETTE[label[y, x]]
            assert tuple(source.labels[index][y, x]) == tuple(reversed(colour))
    assert source.significance is None
    assert (source.weights[0] == 1).all()
    assert target.notes == ('pseudo-labels', f'q = {float(step.statistics["pseudo/q"]):.2f}')
    assert mixed.notes == ('target over', 'source')
    assert mixed.classes == set(view.label.unique().tolist()) - {255}


def test_a_soft_paste_mixes_the_colours_of_its_labels():
    model, step = looked_at('DSP')
    panel = panels_of(step, model, PALETTE, 2)[3]
    first, second = step.views['mixed_target'].targets[0], step.views['mixed_target'].targets[-1]
    mask = step.masks['patch'][:, 0]
    both = mask & (first.label != 255) & (second.label != 255)
    b, y, x = both.nonzero()[0].tolist()
    one, other = (np.array(PALETTE[t.label[b, y, x]]) for t in (first, second))
    assert panel.labels[b][y, x, ::-1] == pytest.approx(0.8 * one + 0.2 * other, abs=1)
    assert panel.weights[b][y, x] == pytest.approx(1)


def test_weights_include_the_factor_of_the_whole_view():
    model, step = looked_at('DACS', pseudo_labels=dict(threshold=0.25, per='image', scope='view'))
    scale = step.views['mixed'].scale.flatten()
    assert 0 < float(scale.max()) < 1
    mixed = panels_of(step, model, PALETTE, 2)[2]
    assert [float(one.max()) for one in mixed.weights] == pytest.approx(scale.tolist())


def square(value, size=8):
    return np.full((size, size), value)


def test_tiles_are_where_they_belong():
    """Single pixels: the image, labels in their colour, weights from light to dark, red where dropped."""
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    grey = np.full((8, 8, 3), 90, np.uint8)
    panels = [Panel('source', ('ground truth',), [grey], None, [np.full((8, 8, 3), (1, 2, 3), np.uint8)],
                    [square(1.0)], None, frozenset({0})),
              Panel('mixed', (), [grey], [left], [np.full((8, 8, 3), (4, 5, 6), np.uint8)], [square(0.0)], [left])]
    picture, layout = live_picture.compose(panels, 'X', '', CLASSES, PALETTE, 40), live_picture._Layout.of(panels, 40)
    assert layout.kinds == ('image', 'labels', 'weight', 'significance')

    def at(column, row, dx, dy=20):
        x, y = layout.place(0, column, row)
        return picture[y + dy, x + dx]

    assert at(0, 0, 20).tolist() == [90] * 3
    assert at(1, 0, 20).tolist() == [3, 2, 1]
    assert at(1, 1, 20).tolist() == [6, 5, 4]
    assert at(2, 0, 20).sum() < 300
    assert at(2, 1, 20).sum() > 700
    assert at(3, 0, 20).tolist() == [255] * 3, 'a view without significance has no tile there'
    assert at(3, 1, 10).tolist() == [90] * 3
    assert at(3, 1, 30).tolist() == [181, 70, 70]
    assert at(0, 1, 20).tolist() == [255] * 3, 'the outline'
    assert at(0, 1, 15).tolist() == at(0, 1, 25).tolist() == [90] * 3
    assert at(0, 1, 0).tolist() == [90] * 3, 'none along the border of the image'


def test_long_words_widen_the_picture():
    panels = [Panel('a_view_with_a_very_long_name', (), [np.zeros((4, 4, 3), np.uint8)])]
    wide = live_picture.compose(panels, 'X', 'fact ' * 40, CLASSES, PALETTE, 32)
    assert wide.shape[1] > 900
    assert (wide[:, -live_picture.MARGIN + 2:] == 255).all()
    assert live_picture._Layout.of(panels, 32).side > 200


def train(folder, world, live, method='DACS', max_iters=4, **changes):
    cfg = config(world, folder, method, max_iters=max_iters, **QUIET, **changes)
    if live is not None:
        cfg.custom_hooks.append(dict(type='LiveViewHook', **live))
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_within_a_training(world, tmp_path):
    """Files at the right iterations; weights are those of a training without pictures, to the last bit."""
    shown = train(tmp_path / 'shown', world, dict(interval=2, width=48))
    plain = train(tmp_path / 'plain', world, None)
    files = {file.name for file in (tmp_path / 'shown/live').iterdir()}
    assert files == {'iter_1.png', 'iter_2.png', 'iter_4.png'}
    assert same(dict(shown.model.state_dict()), dict(plain.model.state_dict()))
    picture = cv2.imread(str(tmp_path / 'shown/live/iter_4.png'))
    assert picture.shape[0] > 3 * 48
    assert not list(tmp_path.rglob('vis_image')), 'the local backend would write it again'


@pytest.mark.skipif(importlib.util.find_spec('tensorboard') is None, reason='tensorboard is not installed')
def test_tensorboard(world, tmp_path):
    """The real backend, read again with TensorBoard's own reader: curves and pictures."""
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator
    cfg = Config(dict(work_dir='x'))
    show_in(cfg, ['tensorboard'])
    assert [one.type for one in cfg.visualizer.vis_backends] == ['LocalVisBackend', 'TensorboardVisBackend']
    train(tmp_path, world, dict(interval=2, width=48, first=False), visualizer=cfg.visualizer, max_iters=2)
    events = EventAccumulator(str(next(tmp_path.rglob('events.out*')).parent), {IMAGES: 0}).Reload()
    image, = events.Images('live')
    assert image.step == 2
    decoded = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, cv2.imread(str(tmp_path / 'live/iter_2.png')))
    assert [one.step for one in events.Scalars('loss')] == [1, 2]
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
    show_in(cfg, ['wandb'])
    train(tmp_path, world, dict(interval=2, width=48, first=False), visualizer=cfg.visualizer, max_iters=2)
    assert started[0]['project'] == 'mmseg_camix'
    assert started[0]['name'] == 'dacs/x'
    pictures = [one['live'] for one in logged if 'live' in one]
    assert len(pictures) == 1
    assert pictures[0][0] == 'picture'
    assert any('loss' in one for one in logged)


def test_backends_are_added_once(monkeypatch):
    monkeypatch.setattr('mmseg_camix.engine.monitoring.find_spec', lambda name: True)
    monkeypatch.setenv('WANDB_PROJECT', 'mine')
    cfg = Config(dict(work_dir='x', visualizer=dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend')])))
    show_in(cfg, ['wandb', 'tensorboard'])
    show_in(cfg, ['tensorboard'])
    assert cfg.visualizer == dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend'),
                                                                   dict(type='TensorboardVisBackend')])
    with pytest.raises(SystemExit, match="--vis: 'aim' is none of tensorboard, wandb"):
        show_in(cfg, ['aim'])
    monkeypatch.setattr('mmseg_camix.engine.monitoring.find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='--vis wandb needs the package wandb: pip install wandb'):
        show_in(cfg, ['wandb'])


def hook_on(model, folder, **arguments):
    from mmengine.logging import MessageHub
    runner = SimpleNamespace(
        model=model, iter=0, max_iters=9, rank=0, work_dir=str(folder), message_hub=MessageHub(str(folder)),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={})), visualizer=None)
    hook = LiveViewHook(width=48, **arguments)
    hook.before_train(runner)
    return hook, runner


def test_a_data_set_without_names_and_colours(tmp_path):
    model = tiny.method('DACS')
    hook, runner = hook_on(model, tmp_path)
    hook.before_train_iter(runner, 0)
    tiny.losses_of(model, tiny.batch())
    hook.after_train_iter(runner, 0)
    assert (tmp_path / 'live/iter_1.png').is_file()
    hook.after_train(runner)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)


def test_a_full_disk_and_other_ranks(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('mmseg_camix.engine.hooks.live_view_hook.atomic_write', full)
    model = tiny.method('DACS')
    hook, runner = hook_on(model, tmp_path)
    for runner.rank in (0, 1):
        hook.before_train_iter(runner, 0)
        tiny.losses_of(model, tiny.batch())
        assert (hook._tap._step is None) == (runner.rank == 1)
        hook.after_train_iter(runner, 0)


def test_a_plain_model_has_no_steps(tmp_path):
    hook, runner = hook_on(tiny.build(tiny.small()), tmp_path)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)


def test_bad_arguments():
    with pytest.raises(ValueError, match='interval=0 and images=2 must be at least 1, width=192 at least 32'):
        LiveViewHook(interval=0)


def test_the_teacher_and_the_step_are_not_kept(world, tmp_path):
    """A step holds images and features: after its iteration nothing refers to it."""
    hook, runner = hook_on(tiny.method('DACS'), tmp_path)
    hook.before_train_iter(runner, 0)
    tiny.losses_of(runner.model, tiny.batch())
    hook.after_train_iter(runner, 0)
    assert hook._tap._step is None
    assert torch.is_tensor(next(runner.model.parameters()))
