"""The warning about collapsing pseudo-labels, and the counts behind it."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from mmseg_camix.engine.hooks import CollapseHook, collapse_hook
from mmseg_camix.engine.hooks.collapse_hook import Reading, effective_classes, histogram, measure
from mmseg_camix.engine.hooks.step_tap import StepTap
from tests.devices import on_devices
from tests.models import tiny
from tests.models.dsp_tiny import data_of
from tests.sync_counter import no_sync
from tests.world import QUIET, config

# Smoothed readings of trainings on the miniature benchmark, (classes, source_classes, confident, agreement): each
# method's most suspicious ones. An early network predicts little but road; plain pseudo-labels confirm themselves.
HEALTHY = {
    'DACS, iteration 40': (2.86, 7.94, 0.000, 0.679), 'DACS, 1112': (5.57, 7.71, 0.417, 0.717),
    'CAMix, 1116': (5.53, 7.91, 0.358, 0.809), 'RCCR, 30': (2.78, 8.23, 0.000, 0.696),
    'RCCR, 1119': (5.59, 8.30, 0.377, 0.730), 'DSP, 54': (2.70, 8.04, 0.000, 0.452),
    'Mean teacher, 1119': (3.11, 8.30, 0.000, 0.890), 'Pseudo-labelling, 1119': (3.84, 8.30, 0.821, 0.940),
    'Naive ClassMix, 1112': (3.87, 7.71, 0.754, 0.928)}
COLLAPSED = {
    'one class': ((1.0, 8.0, 1.0, 1.0), 3), 'two classes': ((2.0, 8.0, 0.5, 0.8), 1),
    'sure of four': ((4.0, 8.0, 0.97, 0.9), 1), 'an echo of four': ((4.0, 8.0, 0.5, 0.99), 1),
    'one class, student unknown': ((1.0, 8.0, 0.2, math.nan), 1)}


def reading(classes, source_classes, confident, agreement):
    return Reading(classes, source_classes, confident, agreement, 0, 0.9)


@pytest.mark.parametrize(('values', 'count'), [*((values, 0) for values in HEALTHY.values()), *COLLAPSED.values()],
                         ids=[*HEALTHY, *COLLAPSED])
def test_symptoms(values, count):
    assert len(CollapseHook().symptoms(reading(*values))) == count


def test_a_source_of_one_class_has_no_symptoms():
    assert CollapseHook().symptoms(reading(1.0, 1.0, 1.0, 1.0)) == []
    assert CollapseHook().symptoms(reading(1.4, 1.6, 0.5, 0.9)) == []  # two classes, both there


@pytest.mark.parametrize(('shares', 'expected'), [([1, 0, 0], 1), ([3, 3, 0], 2), ([5, 5, 5], 3)])
def test_effective_classes(shares, expected):
    assert effective_classes(torch.tensor(shares, dtype=torch.float64)) == pytest.approx(expected)


@on_devices
def test_histogram(device):
    label = tiny.labels(2, 32, 5, void=0.2).to(device)
    with no_sync():
        actual = histogram(label, 5)
    assert actual.tolist() == [int((label == c).sum()) for c in range(5)]
    few = histogram(label, 5, max_values=500)  # 2048 pixels: every fifth
    assert few.tolist() == [int((label.flatten()[::5] == c).sum()) for c in range(5)]


def model_and_step(method, batch=None, **arguments):
    """A model, and the step of one of its forward passes."""
    model = tiny.method(method, **arguments)
    tap = StepTap()
    tap.attach(model)
    tap.request()
    data = model.data_preprocessor(tiny.batch(), True) if batch is None else batch(model)
    model(**data, mode='loss')
    return model, tap.take()


def agreement_by_loops(model, step):
    """Pixel by pixel at the resolution of the student's logits; `regions` are those of the target only."""
    agreed = compared = 0
    regions = dict(mixed=lambda mask: ~mask, camix=lambda mask: mask, cut=lambda mask: mask,
                   mixed_target=lambda mask: ~mask, strong=lambda mask: mask | True, masked=lambda mask: mask | True)
    masks = dict(mixed='classes', cut='square', mixed_target='patch')
    for name, item in step.passes.items():
        if name not in regions or item.logits is None:
            continue
        image = step.views[name].image
        mask = step.masks[masks[name]][:, 0] if name in masks else torch.zeros(image[:, 0].shape, dtype=torch.bool)
        region, label = regions[name](mask), step.views['target'].target.label
        stride = image.shape[2] // item.logits.shape[2]
        for b in range(len(image)):
            for y in range(item.logits.shape[2]):
                for x in range(item.logits.shape[3]):
                    place = b, y * stride, x * stride
                    if region[place] and label[place] != 255:
                        compared += 1
                        agreed += int(item.logits[b, :, y, x].argmax() == label[place])
    return agreed, compared


@pytest.mark.parametrize('method', ['DACS', 'RCCR', 'MeanTeacher', 'CutMix', 'MIC'])
def test_counts(method):
    model, step = model_and_step(method, masks=dict(region=dict(type='ClassMask'))) if method == 'CutMix' else \
        model_and_step(method)
    if method == 'CutMix':
        step.masks['classes'] = step.masks['region']
    with no_sync():
        counts = measure(step, model.views, 0.25)
    label = step.views['target'].target.label
    probs = step.teacher_logits.softmax(1).amax(1)
    agreed, compared = agreement_by_loops(model, step)
    assert compared > 100
    assert counts[:5].tolist() == [int((label == c).sum()) for c in range(5)]
    assert counts[5:10].tolist() == [int((step.views['source'].target.label == c).sum()) for c in range(5)]
    assert counts[10:].tolist() == [int((probs >= 0.25).sum()), probs.numel(), agreed, compared]
    assert 0 < int((probs >= 0.25).sum()) < probs.numel()


def test_padding_is_not_counted_as_confident():
    model, step = model_and_step('DACS', tiny.padded_batch)
    cells = torch.ones(2, 16, 16, dtype=torch.bool)
    cells[1, 10:] = cells[1, :, 12:] = False  # 20 x 24 at stride 2
    confident = (step.teacher_logits.softmax(1).amax(1) >= 0.25) & cells
    assert measure(step, model.views, 0.25)[10:12].tolist() == [int(confident.sum()), int(cells.sum())]
    assert confident.any()


def test_only_pixels_of_the_target_alone_are_compared():
    """Not those of soft pastes, nor of a blend; without views of the target there is no agreement."""
    model, step = model_and_step('DSP', data_of)
    assert measure(step, model.views, 0.9)[-2:].tolist() == list(agreement_by_loops(model, step))
    model, step = model_and_step('iDACS', views=dict(mixed=dict(opacity=0.5)))
    assert measure(step, model.views, 0.9)[-2:].tolist() == [0, 0]
    model, step = model_and_step('iDACS')
    assert measure(step, model.views, 0.9)[-1] > 100
    model, step = model_and_step('CAMix', masks=dict(context=dict(prior=None, groups=None)), views=dict(
        relabelled=dict(type='Relabelled'), camix=dict(donor='relabelled')))
    assert measure(step, model.views, 0.9)[-1] > 100
    model, step = model_and_step('DACS', objectives=dict(mixed=None))
    actual = Reading.of(measure(step, model.views, 0.9))
    assert math.isnan(actual.agreement)
    assert actual.classes >= 1


def test_a_step_is_kept_only_on_request():
    model = tiny.method('DACS')
    tap = StepTap()
    tap.attach(model)
    tiny.losses_of(model, tiny.batch())
    assert tap.take() is None
    tap.request()
    tiny.losses_of(model, tiny.batch())
    assert tap.take() is not None
    tiny.losses_of(model, tiny.batch())
    assert tap.take() is None
    tap.request()
    tap.close()
    tiny.losses_of(model, tiny.batch())
    assert tap.take() is None


# Pixels per class, in thousands: pseudo-labels and source labels of DACS at its end.
PREDICTED = [38, 4, 21, 0, 0, 0, 0, 0, 12, 1, 13, 0, 0, 8, 0, 0, 0, 0, 0]
SOURCE = [30, 8, 18, 2, 2, 2, 1, 1, 10, 3, 12, 1, 1, 6, 1, 1, 0, 0, 0]
ONE = [97] + [0] * 18


def watch(monkeypatch, series, branches=('source', 'target'), **arguments):
    """What the hook says about a series of counts, as (iteration, warning)."""
    warnings, queue = [], iter(series)
    monkeypatch.setattr(collapse_hook, 'print_log', lambda text, *args: warnings.append((runner.iter, text)))
    monkeypatch.setattr(collapse_hook, 'measure', lambda *args: torch.tensor(next(queue), dtype=torch.float64))
    hook = CollapseHook(**arguments)
    model = SimpleNamespace(pseudo_labels=SimpleNamespace(threshold=0.9), views={}, objectives={})
    runner = SimpleNamespace(
        model=model, iter=0, message_hub=MessageHub('x'), optim_wrapper=SimpleNamespace(),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=tuple('abcdefghijklmnopqrs')))))
    hook.before_train(runner)
    for runner.iter in range(len(series) * hook.interval):
        hook.before_train_iter(runner, runner.iter)
        hook._tap._step = SimpleNamespace(views=branches) if hook._tap._requested else None
        hook.after_train_iter(runner, runner.iter)
    return warnings, runner, hook


def counts(predicted, sure=0.4, agreed=0.75):
    return [*predicted, *SOURCE, 97 * sure, 97, 40 * agreed, 40]


def test_it_warns_once_per_episode(monkeypatch):
    """A sudden collapse is reported within 150 iterations, a recovery and a second collapse are noticed."""
    healthy, collapsed = [counts(PREDICTED)], [counts(ONE, 1, 1)]
    warnings, runner, _ = watch(monkeypatch, healthy * 20 + collapsed * 40 + healthy * 40 + collapsed * 40)
    assert len(warnings) == 2
    assert 200 < warnings[0][0] < 350
    assert 1000 < warnings[1][0] < 1150
    assert 'a makes up 9' in warnings[0][1]
    assert 'resume from an earlier checkpoint' in warnings[0][1]
    assert runner.message_hub.get_scalar('train/pseudo/classes').current() == pytest.approx(1, abs=0.01)


def test_no_warning_in_a_healthy_training(monkeypatch):
    """Single batches of one class are smoothed."""
    series = ([counts(PREDICTED)] * 8 + [counts(ONE)] * 2) * 20
    assert watch(monkeypatch, series)[0] == []


def test_without_source_the_first_pseudo_labels_are_the_reference(monkeypatch):
    healthy, collapsed = [[*PREDICTED, *[0] * 19, 40, 97, 30, 40]], [[*ONE, *[0] * 19, 97, 97, 40, 40]]
    warnings, runner, hook = watch(monkeypatch, healthy * 20 + collapsed * 40, ('target',))
    assert len(warnings) == 1
    assert 200 < warnings[0][0] < 350
    assert 'effective classes where the first ones had 5.' in warnings[0][1]
    assert runner.message_hub.get_scalar('train/pseudo/source_classes').current() == pytest.approx(
        effective_classes(torch.tensor(PREDICTED, dtype=torch.float64)))
    assert hook._state['first'] == [5.0 * count for count in PREDICTED]


def test_readings_are_smoothed_across_a_resume(monkeypatch):
    _, runner, hook = watch(monkeypatch, [counts(PREDICTED, 0.0), counts(PREDICTED, 1.0)], interval=1, momentum=0.75)
    assert runner.message_hub.get_scalar('train/pseudo/confident').current() == pytest.approx(0.25)
    hub = MessageHub('y')
    hub.load_state_dict(runner.message_hub.state_dict())
    runner.message_hub, resumed = hub, CollapseHook(interval=1, momentum=0.75)
    resumed.before_train(runner)
    assert resumed._state == hook._state
    assert resumed._state['mean'] is not None


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'interval=0 and patience=5 must be at least 1, momentum=0.8 in \[0, 1\)'):
        CollapseHook(interval=0)


class OneClassTeacher(Hook):
    """From an iteration on, the teacher sees one class everywhere."""

    def __init__(self, start):
        self.start = start

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx >= self.start:
            with torch.no_grad():
                runner.model.teacher.model.decode_head.conv_seg.bias[7] += 100


def test_a_training_whose_teacher_collapses(world, tmp_path):
    """Within the Runner: the warning is in the log, once, and the scalars are."""
    cfg = config(world, tmp_path, max_iters=8, **QUIET)
    cfg.custom_hooks.append(dict(type='CollapseHook', interval=1, momentum=0.2, patience=2))
    runner = Runner.from_cfg(cfg)
    runner.register_hook(OneClassTeacher(2))
    runner.train()
    log = next(tmp_path.rglob('*.log')).read_text()
    assert log.count('pseudo-labels seem to collapse') == 1
    assert 'traffic sign makes up' in log
    for name in ('classes', 'source_classes', 'confident', 'agreement'):
        assert f'pseudo/{name}: ' in log
    saved = torch.load(tmp_path / 'iter_8.pth', weights_only=True)['message_hub']['runtime_info']['collapse']
    assert saved['warned'] is True
    assert len(saved['mean']) == 2 * 19 + collapse_hook.SCALARS


def test_models_without_pseudo_labels_are_ignored():
    runner = SimpleNamespace(model=tiny.method('SourceOnly'), message_hub=MessageHub('z'), iter=0)
    hook = CollapseHook(interval=1)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    assert not runner.message_hub.log_scalars
