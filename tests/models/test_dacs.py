"""DACS against its description in NumPy."""

import math

import numpy as np
import pytest
import torch

from . import tiny
from .reference import (
    BATCH,
    SIZE,
    VOID,
    cross_entropy,
    data_of,
    labels_of,
    mix,
    model_of,
    teacher_probabilities,
)
from .tiny import step_of

THRESHOLD = 0.6


def confident_shares(model, data):
    """q of each image."""
    return (teacher_probabilities(model, data).max(-1) >= THRESHOLD).mean((1, 2))


def mixed_by_hand(kind, model, data, mask, q):
    """Image, label and weight of the mixed view; q (B,) is the weight of target pixels."""
    ones = np.ones((BATCH, SIZE, SIZE))
    source = data['inputs']['source'].numpy(), labels_of(data), ones
    target = data['inputs']['target'].numpy(), teacher_probabilities(model, data).argmax(-1), ones * q[:, None, None]
    donor, over = (source, target) if kind == 'DACS' else (target, source)
    return [mix(mask, *values) for values in zip(donor, over)]


@pytest.mark.parametrize(('kind', 'per', 'scope'), [
    ('DACS', 'batch', 'target'), ('iDACS', 'batch', 'target'), ('DACS', 'image', 'target'), ('DACS', 'image', 'view')])
def test_whole_step(kind, per, scope):
    """per='image', scope='view' is the paper's: L = 1/B sum_b q_b / HW sum CE."""
    model = model_of(kind, pseudo_labels=dict(per=per, scope=scope))
    data = data_of(model)
    step, shares = step_of(model, data), confident_shares(model, data)
    assert len(set(shares)) == BATCH
    assert 0.1 < shares.mean() < 0.9
    q = np.full(BATCH, shares.mean()) if per == 'batch' else shares
    mask, mixed = step.masks['classes'][:, 0].numpy(), step.views['mixed']
    image, label, weight = mixed_by_hand(kind, model, data, mask, q if scope == 'target' else np.ones(BATCH))
    np.testing.assert_array_equal(mixed.image.numpy(), image)
    np.testing.assert_array_equal(mixed.target.label.numpy(), label)
    np.testing.assert_allclose(mixed.target.weight.numpy(), weight, rtol=1e-6)
    if scope == 'view':
        np.testing.assert_allclose(mixed.scale.flatten().numpy(), q, rtol=1e-6)
        weight = weight * q[:, None, None]
    else:
        assert mixed.scale is None
    total, logged = model.parse_losses(model(**data, mode='loss'))
    expected = cross_entropy(model, image, label, weight).mean()
    assert logged['mixed.loss_ce'].item() == pytest.approx(expected, rel=1e-5)
    assert logged['pseudo/q'].item() == pytest.approx(q.mean())
    assert total.item() == pytest.approx(logged['source.decode.loss_ce'].item() + expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['DACS', 'iDACS'])
def test_mask_is_half_of_the_classes_of_the_donor(kind):
    model = model_of(kind)
    data = data_of(model)
    donors = labels_of(data) if kind == 'DACS' else teacher_probabilities(model, data).argmax(-1)
    choices = set()
    for iteration in range(12):
        model.set_progress(iteration, 100)
        for label, region in zip(donors, step_of(model, data).masks['classes'][:, 0].numpy()):
            present = set(label.flatten()) - {VOID}
            inside = {c for c in present if region[label == c].any()}
            assert all(region[label == c].all() for c in inside)  # classes are moved whole
            assert len(inside) == math.ceil(len(present) / 2)
            assert not region[label == VOID].any()
            choices.add(frozenset(inside))
    assert len(choices) > 5


def test_ignored_rows_have_no_weight():
    model = model_of(pseudo_labels=dict(ignore_top=2, ignore_bottom=3))
    step = step_of(model, data_of(model))
    weight = step.views['target'].target.weight
    assert not weight[:, :2].any()
    assert not weight[:, -3:].any()
    assert (weight[:, 2:-3] == weight[0, 2, 0]).all()
    assert weight[0, 2, 0] > 0
    assert (step.views['mixed'].target.weight[step.masks['classes'][:, 0]] == 1).all()  # rows of the source count


def test_pseudo_labels_come_from_the_teacher_at_the_images_size():
    """A head of stride 2: logits are upsampled before the arg-max."""
    model = tiny.method('DACS', tiny.small(crop=(SIZE, SIZE)), teacher=dict(norm='running'))
    data = data_of(model)
    step = step_of(model, data)
    with torch.no_grad():
        logits = model.teacher(data['inputs']['target'])
    assert logits.shape[-1] == SIZE // 2
    expected = torch.nn.functional.interpolate(logits, (SIZE, SIZE), mode='bilinear').argmax(1)
    assert torch.equal(step.views['target'].target.label, expected)


def test_labels_do_not_change_when_images_are_augmented():
    plain, strong = model_of(), model_of(augment=dict(jitter_probability=1.0, blur_probability=1.0))
    data = data_of(plain)
    first, second = step_of(plain, data), step_of(strong, data)
    assert torch.equal(first.views['mixed'].target.label, second.views['mixed'].target.label)
    assert torch.equal(first.views['mixed'].target.weight, second.views['mixed'].target.weight)
    for name in ('source', 'target'):
        assert torch.equal(second.views[name].image, data['inputs'][name])  # only the mixed image
    assert not torch.isclose(first.views['mixed'].image, second.views['mixed'].image).all()


@pytest.mark.parametrize('kind', ['DACS', 'iDACS', 'CutMix', 'CowMix', 'MeanTeacher', 'NaiveClassMix'])
@pytest.mark.parametrize('content', [VOID, 3])
def test_images_of_void_or_of_one_class_only(kind, content):
    model = tiny.method(kind, tiny.per_pixel())
    data = tiny.batch()
    for sample in data['source']['data_samples']:
        sample.gt_sem_seg.data.fill_(content)
    total, logged = tiny.losses_of(model, data)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.student.parameters())
    if content == VOID:
        assert logged['source.decode.loss_ce'].item() == 0
    if kind == 'DACS':
        mask = step_of(model, model.data_preprocessor(data, True)).masks['classes']
        assert mask.all() if content == 3 else not mask.any()
