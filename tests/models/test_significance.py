"""The noisy passes: what they leave unchanged, and the options that make them cheaper."""

import math

import pytest
import torch
from torch import nn

from mmseg_camix.models.norms import frozen_statistics, norms_of
from mmseg_camix.models.significance import SignificanceMask
from mmseg_camix.models.teacher import EMATeacher
from mmseg_camix.ops import entropy as ops

from . import tiny
from .camix_tiny import BATCH, CLASSES, SIZE, camix, data_of
from .tiny import step_of

EVAL_NORM = dict(norm='running')


def network():
    """With batch normalisation, at stride 2."""
    return tiny.small(crop=(SIZE, SIZE), dropout=0.0)


def run(significance, teacher=EVAL_NORM, segmentor=None, **others):
    """The mask of a step, and the module that made it."""
    model = camix(70, significance=significance, segmentor=segmentor or network(), teacher=teacher, **others)
    step = step_of(model, data_of(model))
    return step.views['target'].target.significance, model.pseudo_labels.significance


# ------------------------------------------------------------------ batches of copies


@pytest.mark.parametrize('copies', [2, 3, 8, 20])
def test_copies_in_a_batch_are_as_good_as_one_by_one(copies):
    """The same noise, and a network that treats images apart: the memory option changes nothing."""
    first, single = run(dict(passes=8))
    other, together = run(dict(passes=8, copies_at_once=copies))
    torch.testing.assert_close(together.entropy, single.entropy, atol=1e-5, rtol=0)
    assert (first == other).float().mean() > 0.99


def test_batch_statistics_are_those_of_all_copies_of_a_pass():
    """With norm='batch' a pass of two copies has other statistics: close, and not the same."""
    _, single = run(dict(passes=8), dict(norm='batch'))
    _, together = run(dict(passes=8, copies_at_once=4), dict(norm='batch'))
    difference = (single.entropy - together.entropy).abs()
    assert 1e-6 < difference.max() < 0.02


@pytest.mark.parametrize(('passes', 'copies', 'sizes'), [
    (8, 1, [BATCH] * 8), (8, 3, [3 * BATCH, 3 * BATCH, 2 * BATCH]), (2, 8, [2 * BATCH])])
def test_number_and_size_of_the_passes(passes, copies, sizes):
    assert batches_seen(dict(passes=passes, copies_at_once=copies)) == [(size, 3, SIZE, SIZE) for size in sizes]


def batches_seen(significance):
    """Shapes of the noisy batches."""
    model = camix(significance=significance, segmentor=network())
    data = data_of(model)
    inputs = tiny.inputs_of(model.teacher.model.backbone)
    step_of(model, data)
    clean, *noisy = (tuple(images.shape) for images in inputs)
    assert clean == (BATCH, 3, SIZE, SIZE)
    return noisy


# ------------------------------------------------------------------ noise


def noise_of(segmentor=None, **options):
    """(L, B, 3, H, W): what is added to the images."""
    model = camix(significance=dict(passes=6, **options), segmentor=segmentor or network())
    data = data_of(model)
    inputs = tiny.inputs_of(model.teacher.model.backbone)
    step_of(model, data)
    return torch.stack(inputs[1:]) - data['inputs']['target']


def test_noise_is_normal_and_clamped():
    noise = noise_of(noise=0.1, clamp=0.2)
    assert noise.abs().max() <= 0.2 + 1e-6
    assert (noise.abs() > 0.2 - 1e-6).float().mean() == pytest.approx(2 * 0.02275, abs=0.01)  # beyond two sigma
    assert noise.std().item() == pytest.approx(0.0959, abs=0.004)  # of a normal that is clamped there
    assert abs(noise.mean().item()) < 0.005
    assert len({item.sum().item() for item in noise.flatten(0, 1)}) == 6 * BATCH, 'copies with the same noise'
    assert noise_of(noise=0.0).abs().max() < 1e-6


@pytest.mark.parametrize(('order', 'std', 'expected'), [
    ('rgb', (58.395, 57.12, 57.375), (1.0, 1.0, 1.0)),
    ('rgb', (1.0, 1.0, 1.0), (58.395, 57.12, 57.375)),
    ('bgr', (1.0, 1.0, 1.0), (57.375, 57.12, 58.395)),
    ('bgr', (57.375, 57.12, 58.395), (1.0, 1.0, 1.0)),
    ('rgb', (127.5, 127.5, 127.5), (0.458, 0.448, 0.45))])
def test_noise_has_the_size_in_grey_levels_whatever_the_normalisation(order, std, expected):
    """As in DeepLabV2, whose input is not divided by a deviation."""
    segmentor = network()
    segmentor['data_preprocessor'].update(std=list(std), bgr_to_rgb=order == 'rgb')
    noise = noise_of(noise=0.1, clamp=0.2, segmentor=segmentor)
    per_channel = noise.transpose(0, 2).flatten(1).abs().amax(1)
    torch.testing.assert_close(per_channel, 0.2 * torch.tensor(expected), rtol=2e-3, atol=1e-4)
    raw = noise_of(noise=0.1, clamp=0.2, noise_unit='input', segmentor=segmentor)
    torch.testing.assert_close(noise, raw * torch.tensor(expected).view(3, 1, 1), rtol=2e-3, atol=2e-3)


def test_exchanged_bounds_of_the_clamp_replace_the_noise():
    noise = noise_of(clamp=(0.2, -0.2))
    torch.testing.assert_close(noise, torch.full_like(noise, -0.2))


def test_noise_is_that_of_the_step():
    model = camix(significance=dict(), segmentor=network())
    data = data_of(model)
    entropies = []
    for iteration in (4, 5, 4):
        model.set_progress(iteration, 100)
        torch.manual_seed(len(entropies))  # the global generator plays no part
        step_of(model, data)
        entropies.append(model.pseudo_labels.significance.entropy)
    assert torch.equal(entropies[0], entropies[2])
    assert not torch.equal(entropies[0], entropies[1])


def test_processes_with_one_batch_give_an_image_the_noise_that_it_has_in_one():
    model = camix(significance=dict(passes=2))
    data = data_of(model)
    step, mask = step_of(model, data), model.pseudo_labels.significance
    whole = mask.entropy
    for rank in range(BATCH):
        step.generator.rank, step.generator.world = rank, BATCH
        mask(step, data['inputs']['target'][rank::BATCH])
        torch.testing.assert_close(mask.entropy, whole[rank::BATCH])


# ------------------------------------------------------------------ running statistics


def statistics(model):
    return {name: value.clone() for name, value in model.teacher.model.named_buffers()}


def test_noisy_passes_do_not_change_running_statistics():
    """They are those of one clean pass, the counter of batches included."""
    after = []
    for kind in ('CAMix', 'iDACS'):
        model = camix(kind=kind, segmentor=network(), teacher=dict(norm='batch'), significance=dict())
        before = statistics(model)
        step_of(model, data_of(model))
        after.append(statistics(model))
        assert any(not torch.equal(before[name], after[-1][name]) for name in before)
    assert after[0].keys() == after[1].keys()
    for name in after[0]:
        assert torch.equal(after[0][name], after[1][name]), name


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('kind', [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_frozen_statistics_normalise_by_the_batch(kind, momentum):
    if kind is nn.InstanceNorm2d and momentum is None:
        pytest.skip('instance norm has no cumulative average')
    teacher = EMATeacher(tiny.build(network()))
    norm = kind(3, momentum=momentum, track_running_stats=True).train()
    teacher.model.another = norm
    image = 5 + torch.randn(2, 3, 8, 8)
    before = {name: value.clone() for name, value in norm.named_buffers()}
    with frozen_statistics(teacher.model):
        frozen = norm(image)
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())
    torch.testing.assert_close(frozen, norm(image))
    assert not torch.equal(norm.running_mean, before['running_mean']), 'tracking must continue afterwards'
    assert norm.momentum == momentum
    evaluated = norm.eval()(image)
    with frozen_statistics(teacher.model):
        torch.testing.assert_close(norm(image), evaluated)


def test_statistics_are_thawed_after_an_error():
    teacher = EMATeacher(tiny.build(network())).train()
    with pytest.raises(RuntimeError, match='boom'), frozen_statistics(teacher.model):
        raise RuntimeError('boom')
    assert all(norm.track_running_stats and norm.momentum == 0.1 for norm in norms_of(teacher.model))


# ------------------------------------------------------------------ fast modes


def test_the_clean_pass_as_one_of_them():
    model = camix(70, significance=dict(passes=1, reuse_clean=True), segmentor=network(), teacher=EVAL_NORM)
    step = step_of(model, data_of(model))
    expected = ops.predictive_entropy(step.teacher_logits.softmax(1))
    torch.testing.assert_close(model.pseudo_labels.significance.entropy, expected)
    assert batches_seen(dict(passes=1, reuse_clean=True)) == []
    assert len(batches_seen(dict(passes=4, reuse_clean=True))) == 3


def test_smaller_passes():
    assert batches_seen(dict(passes=2, scale=0.5)) == [(BATCH, 3, SIZE // 2, SIZE // 2)] * 2
    exact, full = run(dict())
    fast, small = run(dict(scale=0.5))
    assert small.entropy.shape == full.entropy.shape == (BATCH, SIZE // 2, SIZE // 2)
    assert fast.shape == exact.shape == (BATCH, SIZE, SIZE)
    assert set(fast.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize('align_corners', [False, True])
def test_smaller_passes_are_enlarged_as_the_head_has_it(align_corners):
    segmentor = tiny.per_pixel((SIZE, SIZE), align_corners=align_corners)
    model = camix(70, significance=dict(passes=1, noise=0.0, scale=0.5), segmentor=segmentor)
    data = data_of(model)
    step_of(model, data)
    small = nn.functional.interpolate(data['inputs']['target'], (SIZE // 2, SIZE // 2), mode='bilinear')
    logits = nn.functional.interpolate(model.teacher(small), (SIZE, SIZE), mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(model.pseudo_labels.significance.entropy, ops.predictive_entropy(logits.softmax(1)))


def test_low_precision():
    _, full = run(dict())
    _, low = run(dict(dtype='bf16'))
    assert low.entropy.dtype == torch.float32
    assert 0 < (low.entropy - full.entropy).abs().max() < 0.1
    model = camix(significance=dict(dtype='bf16'), segmentor=network())
    step = step_of(model, data_of(model))
    assert step.teacher_logits.dtype == torch.float32  # pseudo-labels are not affected


# ------------------------------------------------------------------ threshold


def test_the_clock():
    """The end of the training, the mask's own end, the hook's."""
    log_c = math.log(CLASSES)
    official = dict(passes=1, form='official', bound='classes')

    def threshold(**options):
        return run({**official, **options})[1].statistics()['significance/threshold'].item()

    expected = {t: (0.75 + 0.25 * math.exp(-5 * (1 - t) ** 2)) * log_c for t in (0.7, 0.35, 1.0)}
    assert threshold() == pytest.approx(expected[0.7])
    assert threshold(t_max=200) == pytest.approx(expected[0.35])
    assert threshold(t_max=70) == threshold(t_max=20) == pytest.approx(expected[1.0])


@pytest.mark.parametrize(('options', 'message'), [
    (dict(form='printed'), "form='printed' must be one of paper, official"),
    (dict(bound='image'), "bound='image' must be one of sample, classes"),
    (dict(dtype='fp16'), "dtype='fp16' must be one of fp32, bf16"),
    (dict(passes=0), 'passes=0 .* at least 1'),
    (dict(copies_at_once=0), 'copies_at_once=0'),
    (dict(scale=0.0), r'scale=0.0 in \(0, 1\]'),
    (dict(scale=1.5), 'scale=1.5'),
    (dict(noise=-1.0), 'noise=-1.0'),
    (dict(clamp=-0.2), 'clamp=-0.2 must be a number of at least 0'),
    (dict(clamp=(0.1, 0.2, 0.3)), 'clamp=.* the lowest and the highest'),
    (dict(noise_unit='grey'), "noise_unit='grey' must be one of imagenet, input"),
    (dict(gamma=5.0), 'gamma=5.0 must not be positive'),
    (dict(t_max=0), 't_max=0 at least 1')])
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SignificanceMask(**options)
