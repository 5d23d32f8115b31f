"""CAMix end to end against loops over pixels, written from the paper's equations."""

import itertools
import math

import numpy as np
import pytest
import torch

from .camix_tiny import BATCH, BOXES, CLASSES, FLIPS, SIZE, camix, counts_of, data_of, save_prior
from .tiny import step_of

VOID = 255
GROUPS = [{1, 2}, {3, 4}]  # pole, traffic light; rider, bicycle
PLAIN_CE = dict(mixed=dict(type='PixelCrossEntropy', view='mixed'))


@pytest.fixture
def prior(tmp_path):
    return save_prior(tmp_path / 'prior.npz')


# ------------------------------------------------------------------ the slow reference


def pixel_probs(network, image):
    """image (3, H, W) -> (H, W, C), pixel by pixel."""
    conv = network.decode_head.conv_seg
    weight, bias = conv.weight.detach().double().numpy()[:, :, 0, 0], conv.bias.detach().double().numpy()
    image = image.double().numpy()
    result = np.zeros((SIZE, SIZE, CLASSES))
    for y, x in itertools.product(range(SIZE), repeat=2):
        exponentials = np.exp(weight @ image[:, y, x] + bias)
        result[y, x] = exponentials / exponentials.sum()
    return result


def prior_of_crop(box, flip, epsilon=1e-4):
    """(H, W, C): the class distribution at each place of the image, cut out and turned as the crop was."""
    counts = counts_of().astype(float)
    q = counts / counts.sum(0)
    q = (q + epsilon) / (1 + CLASSES * epsilon)
    left, top, right, bottom = box
    crop = q[:, top:bottom, left:right].transpose(1, 2, 0)
    return crop[:, ::-1] if flip else crop


def closed(chosen, present):
    """Algorithm 1, lines 5 to 12, over the disjoint groups of Table I."""
    result = set(chosen)
    for k in chosen:
        for group in GROUPS:
            if k in group:
                result |= group & present
    return result


def entropy_by_loops(model, step, images, passes, noise=0.1, clamp=0.2):
    """Eqs 5 and 6, (B, H, W), with the noise replayed."""
    generator = torch.Generator().manual_seed(step.generator.initial_seed() ^ 0x51ED2701)
    total = np.zeros((BATCH, SIZE, SIZE, CLASSES))
    for _ in range(passes):
        noisy = images + (torch.randn(images.shape, generator=generator) * noise).clamp(-clamp, clamp)
        total += np.array([pixel_probs(model.teacher.model, image) for image in noisy]) / passes
    result = np.zeros((BATCH, SIZE, SIZE))
    for b, y, x in np.ndindex(result.shape):
        result[b, y, x] = -sum(p * math.log(p) for p in total[b, y, x] if p > 0)
    return result


def threshold_by_hand(entropy, form, bound, t, t_max, beta=0.75, gamma=-5.0):
    """Eq. 7 of one sample, as printed or as released."""
    k_sup = max(entropy.flatten()) if bound == 'sample' else math.log(CLASSES)
    ramp = math.exp(gamma * (1 - t / t_max) ** 2)
    if form == 'paper':
        return beta + (1 - beta) * ramp * k_sup
    return (beta + (1 - beta) * ramp) * k_sup


def mix(mask, target, source):
    """M target + (1 - M) source at each pixel; (B, ..., H, W) arrays."""
    result = np.array(source)
    for b, y, x in np.ndindex(mask.shape):
        if mask[b, y, x]:
            result[b, ..., y, x] = target[b, ..., y, x]
    return result


def src_by_loops(model, images, label, weight, significance):
    """Eq. 9: sum(U q CE) / sum(U)."""
    total = count = 0.0
    for b in range(BATCH):
        probs = pixel_probs(model.student, images[b])
        for y, x in itertools.product(range(SIZE), repeat=2):
            count += significance[b, y, x]
            if label[b, y, x] != VOID:
                total += significance[b, y, x] * weight[b, y, x] * -math.log(probs[y, x, label[b, y, x]])
    return total / count


# ------------------------------------------------------------------ the whole step


@pytest.mark.parametrize(('form', 'bound'), itertools.product(('paper', 'official'), ('sample', 'classes')))
def test_the_whole_step(prior, form, bound):
    model = camix(70, dict(prior=prior), dict(passes=3, form=form, bound=bound))
    data = data_of(model)
    step = step_of(model, data)
    source, target = data['inputs']['source'].numpy(), data['inputs']['target']
    mask = step.masks['context'][:, 0].numpy()
    probs = np.array([pixel_probs(model.teacher.model, image) for image in target])
    # Eqs 5 to 7
    entropy = entropy_by_loops(model, step, target, 3)
    thresholds = [threshold_by_hand(one, form, bound, 70, 100) for one in entropy]
    significant = np.array([one < r for one, r in zip(entropy, thresholds)])
    assert 0 < significant.mean() < 1
    # Eqs 2, 4 and 8, with the unmodulated label
    truth = torch.stack([s.gt_sem_seg.data[0] for s in data['data_samples']['source']]).numpy()
    q = (probs.max(-1) >= 0.6).mean()
    image = mix(mask, target.numpy(), source)
    label = mix(mask, probs.argmax(-1), truth)
    weight = mix(mask, np.full(mask.shape, q), np.ones(mask.shape))
    u_mixed = mix(mask, significant.astype(float), np.ones(mask.shape))
    mixed = step.views['mixed']
    np.testing.assert_array_equal(mixed.image.numpy(), image)
    np.testing.assert_array_equal(mixed.target.label.numpy(), label)
    np.testing.assert_allclose(mixed.target.weight.numpy(), weight, rtol=1e-6)
    np.testing.assert_array_equal(mixed.target.significance.numpy(), u_mixed)
    # Eqs 9 to 11
    total, logged = model.parse_losses(model(**data, mode='loss'))
    expected = src_by_loops(model, mixed.image, label, weight, u_mixed)
    assert logged['mixed.loss_src'].item() == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(logged['source.decode.loss_ce'].item() + expected, rel=1e-5)
    assert logged['significance/threshold'].item() == pytest.approx(np.mean(thresholds), rel=1e-5)
    assert logged['significance/kept'].item() == pytest.approx(significant.mean())


def test_the_mask_is_that_of_algorithm_1(prior):
    model = camix(context=dict(prior=prior))
    data = data_of(model)
    probs = [pixel_probs(model.teacher.model, image) for image in data['inputs']['target']]
    labels = [(q * p).argmax(-1) for q, p in zip(map(prior_of_crop, BOXES, FLIPS), probs)]
    assert any((label != p.argmax(-1)).mean() > 0.1 for label, p in zip(labels, probs)), 'a prior without effect'
    drawn = set()
    for iteration in range(12):
        model.set_progress(iteration, 100)
        masks = step_of(model, data).masks['context'][:, 0].numpy()
        for label, mask in zip(labels, masks):
            present = {int(c) for c in np.unique(label)}
            inside = {c for c in present if mask[label == c].any()}
            assert all(mask[label == c].all() for c in inside)  # exactly the pixels of some classes
            halves = itertools.combinations(sorted(present), math.ceil(len(present) / 2))
            assert inside in [closed(half, present) for half in halves]
            drawn.add(frozenset(inside))
    assert len(drawn) > 3


def test_no_component_is_iDACS():
    """Table V (a), first row: without prior, relations and significance CAMix is its baseline."""
    plain = camix(context=dict(groups=None), pseudo_labels=dict(significance=None), objectives=PLAIN_CE)
    baseline = camix(kind='iDACS')
    values = [model.parse_losses(model(**data_of(model), mode='loss'))[0].item() for model in (plain, baseline)]
    assert values[0] == values[1]


def test_masks_do_not_depend_on_the_noise(prior):
    """Rows of an ablation draw the same classes, so that they differ in one thing only."""
    masks = []
    for significance in (dict(passes=1), dict(passes=4, copies_at_once=3), dict(passes=2, reuse_clean=True), None):
        model = camix(context=dict(prior=prior), pseudo_labels=dict(significance=significance))
        masks.append(step_of(model, data_of(model)).masks['context'])
    assert all(torch.equal(mask, masks[0]) for mask in masks[1:])


def test_mse_in_place_of_src():
    model = camix(objectives=dict(mixed=dict(type='PixelMSE', view='mixed')), pseudo_labels=dict(significance=None))
    data = data_of(model)
    _, logged = model.parse_losses(model(**data, mode='loss'))
    target = step_of(model, data).views['mixed'].target
    probs = np.array([pixel_probs(model.student, image) for image in step_of(model, data).views['mixed'].image])
    wanted = target.probs.permute(0, 2, 3, 1).numpy()
    weight = (target.weight * (target.label != VOID)).numpy()
    expected = (((probs - wanted) ** 2).sum(-1) * weight).mean()
    assert logged['mixed.loss_mse'].item() == pytest.approx(expected, rel=1e-5)
    assert 'significance/kept' not in logged
