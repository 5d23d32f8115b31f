"""CAMix against the paper's equations in NumPy, its loss, its warm-up, and what a step costs."""

import itertools
import math

import numpy as np
import pytest
import torch

from mmseg_camix.models.adapter import Output
from mmseg_camix.models.step import StudentPass
from tests.sync_counter import no_sync

from .camix_tiny import BATCH, BOXES, CLASSES, FLIPS, SIZE, camix, counts_of, data_of
from .reference import VOID, cross_entropy, labels_of, mix, probabilities, teacher_probabilities
from .tiny import step_of

GROUPS = [{1, 2}, {3, 4}]  # pole, traffic light; rider, bicycle
CE = dict(type='PixelCrossEntropy', view='mixed')


def prior_of_crop(box, flip, epsilon=1e-4):
    """(H, W, C): the class distribution at each place of the image, cropped and flipped as the image was."""
    counts = counts_of().astype(float)
    q = (counts / counts.sum(0) + epsilon) / (1 + CLASSES * epsilon)
    left, top, right, bottom = box
    crop = q[:, top:bottom, left:right].transpose(1, 2, 0)
    return crop[:, ::-1] if flip else crop


def closed(chosen, present):
    """Algorithm 1, lines 5 to 12, over the disjoint groups of Table I."""
    return set(chosen).union(*(group & present for group in GROUPS if group & set(chosen)))


def entropy_of(model, step, images, passes, noise=0.1, clamp=0.2):
    """Eqs 5 and 6, (B, H, W), with the noise replayed."""
    generator = torch.Generator().manual_seed(step.generator.initial_seed() ^ 0x51ED2701)
    noisy = [images + (torch.randn(images.shape, generator=generator) * noise).clamp(-clamp, clamp)
             for _ in range(passes)]
    mean = np.mean([probabilities(model.teacher.model, image) for image in noisy], 0)
    return -(mean * np.log(mean)).sum(-1)


def threshold_of(entropy, form, bound, t, t_max, beta=0.75, gamma=-5.0):
    """Eq. 7 of each sample, as printed or as released, (B,)."""
    k_sup = entropy.max((1, 2)) if bound == 'sample' else np.full(BATCH, math.log(CLASSES))
    ramp = math.exp(gamma * (1 - t / t_max) ** 2)
    return beta + (1 - beta) * ramp * k_sup if form == 'paper' else (beta + (1 - beta) * ramp) * k_sup


# ------------------------------------------------------------------ the whole step


@pytest.mark.parametrize(('form', 'bound'), itertools.product(('paper', 'official'), ('sample', 'classes')))
def test_whole_step(prior, form, bound):
    model = camix(70, dict(prior=prior), dict(passes=3, form=form, bound=bound))
    data = data_of(model)
    step = step_of(model, data)
    source, target = data['inputs']['source'].numpy(), data['inputs']['target']
    mask, probs = step.masks['context'][:, 0].numpy(), teacher_probabilities(model, data)
    # Eqs 5 to 7
    entropy = entropy_of(model, step, target, 3)
    thresholds = threshold_of(entropy, form, bound, 70, 100)
    significant = entropy < thresholds[:, None, None]
    assert 0 < significant.mean() < 1
    # Eqs 2, 4 and 8, with the unmodulated label
    ones = np.ones(mask.shape)
    label = mix(mask, probs.argmax(-1), labels_of(data))
    weight, u_mixed = mix(mask, ones * (probs.max(-1) >= 0.6).mean(), ones), mix(mask, significant.astype(float), ones)
    mixed = step.views['mixed']
    np.testing.assert_array_equal(mixed.image.numpy(), mix(mask, target.numpy(), source))
    np.testing.assert_array_equal(mixed.target.label.numpy(), label)
    np.testing.assert_allclose(mixed.target.weight.numpy(), weight, rtol=1e-6)
    np.testing.assert_array_equal(mixed.target.significance.numpy(), u_mixed)
    # Eqs 9 to 11
    total, logged = model.parse_losses(model(**data, mode='loss'))
    expected = (u_mixed * cross_entropy(model, mixed.image, label, weight)).sum() / u_mixed.sum()
    assert logged['mixed.loss_src'].item() == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(logged['source.decode.loss_ce'].item() + expected, rel=1e-5)
    assert logged['significance/threshold'].item() == pytest.approx(np.mean(thresholds), rel=1e-5)
    assert logged['significance/kept'].item() == pytest.approx(significant.mean())


def test_mask_is_that_of_algorithm_1(prior):
    model = camix(context=dict(prior=prior))
    data = data_of(model)
    probs = teacher_probabilities(model, data)
    labels = (np.array([prior_of_crop(*place) for place in zip(BOXES, FLIPS)]) * probs).argmax(-1)
    assert (labels != probs.argmax(-1)).mean() > 0.05, 'the prior has no effect'
    drawn = set()
    for iteration in range(12):
        model.set_progress(iteration, 100)
        for label, mask in zip(labels, step_of(model, data).masks['context'][:, 0].numpy()):
            present = {int(c) for c in np.unique(label)}
            inside = {c for c in present if mask[label == c].any()}
            assert all(mask[label == c].all() for c in inside)  # exactly the pixels of some classes
            halves = itertools.combinations(sorted(present), math.ceil(len(present) / 2))
            assert inside in [closed(half, present) for half in halves]
            drawn.add(frozenset(inside))
    assert len(drawn) > 3


def test_without_components_it_is_iDACS():
    """Table V (a), first row: without prior, relations and significance CAMix is its baseline."""
    plain = camix(context=dict(groups=None), pseudo_labels=dict(significance=None), objectives=dict(mixed=CE))
    values = [model.parse_losses(model(**data_of(model), mode='loss'))[0].item()
              for model in (plain, camix(kind='iDACS'))]
    assert values[0] == values[1]


def test_masks_do_not_depend_on_the_noise(prior):
    """Rows of an ablation draw the same classes, so that they differ in one thing only."""
    masks = []
    for significance in (dict(passes=1), dict(passes=4, copies_at_once=3), dict(passes=2, reuse_clean=True), None):
        model = camix(context=dict(prior=prior), pseudo_labels=dict(significance=significance))
        masks.append(step_of(model, data_of(model)).masks['context'])
    assert all(torch.equal(mask, masks[0]) for mask in masks[1:])


def test_mse_replaces_src():
    model = camix(objectives=dict(mixed=dict(type='PixelMSE', view='mixed')), pseudo_labels=dict(significance=None))
    data = data_of(model)
    _, logged = model.parse_losses(model(**data, mode='loss'))
    mixed = step_of(model, data).views['mixed']
    difference = probabilities(model.student, mixed.image) - mixed.target.probs.permute(0, 2, 3, 1).numpy()
    weight = (mixed.target.weight * (mixed.target.label != VOID)).numpy()
    assert logged['mixed.loss_mse'].item() == pytest.approx(((difference ** 2).sum(-1) * weight).mean(), rel=1e-5)
    assert 'significance/kept' not in logged


# ------------------------------------------------------------------ significance in the loss


def gradient(model, step, objective):
    """Of an objective on the mixed view by the student's logits, (B, C, H, W)."""
    logits = torch.randn(BATCH, CLASSES, SIZE, SIZE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    step.passes['mixed'] = StudentPass(None, (Output(logits),))
    (loss,) = model.objectives[objective](step, model.student).values()
    return loss.item(), torch.autograd.grad(loss, logits)[0]


def test_src_differs_from_ce_exactly_outside_the_mask():
    """The released code's loss is a mean before the mask is applied, and has CE's gradient everywhere."""
    model = camix(70, objectives=dict(ce=CE))
    step = step_of(model, data_of(model))
    significance = step.views['mixed'].target.significance
    assert 0.1 < significance.mean() < 0.95
    value, significant = gradient(model, step, 'mixed')
    plain, everywhere = gradient(model, step, 'ce')
    dropped = (significance == 0) & (step.views['mixed'].target.label != VOID)
    assert everywhere.abs().sum(1)[dropped].min() > 0
    assert significant.abs().sum(1)[dropped].max() == 0
    kept = everywhere * significance[:, None] * significance.numel() / significance.sum()
    torch.testing.assert_close(significant, kept)
    released = (plain * significance).sum() / significance.sum()
    assert released.item() == pytest.approx(plain, rel=1e-5)
    assert value != pytest.approx(plain, rel=1e-2)


def test_src_is_ce_where_all_is_significant():
    model = camix(objectives=dict(ce=CE), significance=dict(beta=9.0))
    step = step_of(model, data_of(model))
    assert bool((step.views['mixed'].target.significance == 1).all())
    (value, actual), (plain, expected) = gradient(model, step, 'mixed'), gradient(model, step, 'ce')
    assert value == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(actual, expected)


def test_no_significant_pixel():
    """A threshold of zero and a mask that covers all: the loss is 0 and so is its gradient."""
    nothing = dict(beta=0.0, gamma=-1000.0)
    model = camix(0, dict(ratio=1.0), nothing, objectives=dict(source=None))
    data = data_of(model)
    assert step_of(model, data).views['mixed'].target.significance.sum() == 0
    total, logged = model.parse_losses(model(**data, mode='loss'))
    assert logged['mixed.loss_src'].item() == total.item() == 0
    assert logged['significance/kept'] == 0
    total.backward()
    assert all(bool((p.grad == 0).all()) for p in model.student.parameters())


# ------------------------------------------------------------------ images smaller than the crop


@pytest.mark.parametrize('at', [0, 90])  # CAMix; its warm-up, where the padding stays in view
def test_padding_has_no_effect(at):
    """Neither its classes nor its entropy, whatever the teacher makes of it."""
    results = []
    for value in (-9.0, 9.0):
        model = camix(70, significance=dict(passes=2, form='official', gamma=0.0), views=dict(mixed=dict(at=at)))
        data = data_of(model)
        for sample in data['data_samples']['target']:
            sample.set_metainfo(dict(img_shape=(10, 12)))
        target = data['inputs']['target']
        target.mul_(0.2).add_(1)  # one class, of a teacher that is rather sure
        target[:, :, 10:], target[:, :, :, 12:] = value, value
        step = step_of(model, data)
        mixed, statistics = step.views['mixed'].target, step.statistics
        results.append([*step.masks.values(), mixed.label, mixed.weight, mixed.significance, *(
            statistics[name] for name in ('significance/threshold', 'significance/kept', 'pseudo/q'))])
        assert step.teacher_logits[:, :, 10:].argmax(1).unique() == (0 if value < 0 else 4)
    assert all(map(torch.equal, *results))


# ------------------------------------------------------------------ warm-up, cost


def test_warm_up_by_classmix():
    """Source onto target before the iteration, without the context; target onto source from it on."""
    model = camix(9, views=dict(mixed=dict(at=10)))
    data = data_of(model)
    before = step_of(model, data)
    assert set(before.masks) == {'classes'}
    assert 'camix' not in before.views
    dacs = camix(9, kind='DACS')
    assert torch.equal(before.views['mixed'].image, step_of(dacs, data).views['mixed'].image)
    model.set_progress(10, 100)
    after = step_of(model, data)
    assert set(after.masks) == {'context'}
    assert torch.equal(after.views['mixed'].image, step_of(camix(10), data).views['mixed'].image)


def test_nothing_waits_for_the_device(prior, no_accuracy):
    model = camix(context=dict(prior=prior), significance=dict(passes=4, copies_at_once=2, scale=0.5))
    data = data_of(model)
    model.update_teacher()
    with no_sync():
        losses = model.loss(data['inputs'], data['data_samples'])
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        model.update_teacher()
