"""DACS end to end against loops over pixels, written from its description."""

import math

import numpy as np
import pytest
import torch

from . import tiny
from .by_loops import (
    BATCH,
    CLASSES,
    SIZE,
    VOID,
    data_of,
    ground_truth,
    mixed_by_loops,
    model_of,
    reference_cross_entropy,
    reference_pseudo_labels,
)
from .tiny import step_of


@pytest.mark.parametrize('kind', ['DACS', 'iDACS'])
def test_the_whole_step(kind):
    model = model_of(kind)
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['classes'][:, 0].numpy()
    _, confident = reference_pseudo_labels(model, data, 0.6)
    q = sum(confident) / (BATCH * SIZE * SIZE)
    assert 0.1 < q < 0.9
    image, label, weight = mixed_by_loops(kind, model, data, mask, [q] * BATCH)
    mixed = step.views['mixed']
    np.testing.assert_array_equal(mixed.image.numpy(), image)
    np.testing.assert_array_equal(mixed.target.label.numpy(), label)
    np.testing.assert_allclose(mixed.target.weight.numpy(), weight, rtol=1e-6)
    assert mixed.scale is None
    total, logged = model.parse_losses(model(**data, mode='loss'))
    expected = reference_cross_entropy(model, mixed.image, label, weight)
    assert logged['mixed.loss_ce'].item() == pytest.approx(expected, rel=1e-5)
    assert logged['pseudo/q'].item() == pytest.approx(q)
    assert total.item() == pytest.approx(logged['source.decode.loss_ce'].item() + expected, rel=1e-5)


@pytest.mark.parametrize('kind', ['DACS', 'iDACS'])
def test_the_mask_is_half_of_the_classes_of_the_donor(kind):
    model = model_of(kind)
    data = data_of(model)
    donors = ground_truth(data) if kind == 'DACS' else reference_pseudo_labels(model, data, 0.6)[0]
    chosen_over_time = set()
    for iteration in range(12):
        model.set_progress(iteration, 100)
        mask = step_of(model, data).masks['classes'][:, 0].numpy()
        for label, region in zip(donors, mask):
            present = set(label.flatten()) - {VOID}
            inside = {c for c in present if region[label == c].any()}
            assert all(region[label == c].all() for c in inside)  # classes are moved whole
            assert len(inside) == math.ceil(len(present) / 2)
            assert not region[label == VOID].any()
            chosen_over_time.add(frozenset(inside))
    assert len(chosen_over_time) > 5


def test_q_per_image_on_the_whole_loss_is_the_papers():
    """`per='image', scope='view'`: L = 1/B sum_b q_b / HW sum CE."""
    model = model_of(pseudo_labels=dict(per='image', scope='view'))
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['classes'][:, 0].numpy()
    _, confident = reference_pseudo_labels(model, data, 0.6)
    q = [count / SIZE**2 for count in confident]
    assert len(set(q)) == BATCH
    image, label, _ = mixed_by_loops('DACS', model, data, mask, [1] * BATCH)
    mixed = step.views['mixed']
    torch.testing.assert_close(mixed.scale.flatten(), torch.tensor(q))
    assert (mixed.target.weight == 1).all()
    whole = np.ones((BATCH, SIZE, SIZE)) * np.array(q)[:, None, None]
    _, logged = model.parse_losses(model(**data, mode='loss'))
    expected = reference_cross_entropy(model, torch.from_numpy(image), label, whole)
    assert logged['mixed.loss_ce'].item() == pytest.approx(expected, rel=1e-5)


def test_q_per_image_on_target_pixels():
    model = model_of(pseudo_labels=dict(per='image'))
    data = data_of(model)
    step = step_of(model, data)
    _, confident = reference_pseudo_labels(model, data, 0.6)
    mask = step.masks['classes'][:, 0].numpy()
    _, _, weight = mixed_by_loops('DACS', model, data, mask, [count / SIZE**2 for count in confident])
    np.testing.assert_allclose(step.views['mixed'].target.weight.numpy(), weight, rtol=1e-6)


def test_rows_that_are_ignored():
    model = model_of(pseudo_labels=dict(ignore_top=2, ignore_bottom=3))
    data = data_of(model)
    step = step_of(model, data)
    weight = step.views['target'].target.weight
    assert (weight[:, :2] == 0).all()
    assert (weight[:, -3:] == 0).all()
    assert (weight[:, 2:-3] == weight[0, 2, 0]).all()
    assert weight[0, 2, 0] > 0
    region = step.masks['classes'][:, 0]
    assert (step.views['mixed'].target.weight[region] == 1).all()  # source rows stay


def test_an_image_that_encodes_its_label_still_does_after_the_paste():
    """Image, label and weight cannot drift apart: blue says the class, green the domain."""
    model = model_of(threshold=0.0)
    with torch.no_grad():  # the teacher reads the class off the blue channel
        conv = model.teacher.model.decode_head.conv_seg
        classes = torch.arange(CLASSES)
        conv.weight.zero_()
        conv.weight[:, 2, 0, 0] = 2.0 * classes
        conv.bias.copy_(-classes.float() ** 2)
    data = data_of(model)
    label = torch.from_numpy(ground_truth(data))
    encoded = [label.masked_fill(label == VOID, 9), tiny.labels(BATCH, SIZE, CLASSES, seed=5, void=0)]
    for number, (name, code) in enumerate(zip(('source', 'target'), encoded)):
        data['inputs'][name] = torch.stack([torch.zeros(code.shape), torch.full(code.shape, number), code.float()], 1)
    for iteration in range(5):
        model.set_progress(iteration, 100)
        mixed = step_of(model, data).views['mixed']
        code, domain = mixed.image[:, 2].long(), mixed.image[:, 1].long()
        assert 0.1 < domain.float().mean() < 0.9
        asked = mixed.target.label
        assert torch.equal(asked.masked_fill(asked == VOID, 9), code)
        assert not (asked[domain == 0] == VOID).any()  # void of the source is never pasted


def exchanged(data, model):
    """The same batch with the domains exchanged: the target's pseudo-labels become ground truth."""
    pseudo, _ = reference_pseudo_labels(model, data, 0.6)
    samples = [tiny.sample(torch.from_numpy(one)) for one in pseudo]
    return dict(inputs=dict(source=data['inputs']['target'], target=data['inputs']['source']),
                data_samples=dict(source=samples, target=data['data_samples']['target']))


def test_idacs_is_dacs_with_the_domains_exchanged():
    """DACS, given the target as its source, pastes the same pixels of the same images."""
    inverse, model = model_of('iDACS'), model_of('DACS')
    data = data_of(model)
    swapped = exchanged(data, inverse)
    one, other = step_of(inverse, data), step_of(model, swapped)
    assert torch.equal(one.masks['classes'], other.masks['classes'])
    mixed = one.views['mixed']
    assert torch.equal(mixed.image, other.views['mixed'].image)
    inside = one.masks['classes'][:, 0]
    assert torch.equal(mixed.target.label[inside], other.views['mixed'].target.label[inside])
    outside = torch.from_numpy(ground_truth(data))[~inside]
    assert torch.equal(mixed.target.label[~inside], outside)
    assert (mixed.target.weight[~inside] == 1).all()


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
    one, other = step_of(plain, data), step_of(strong, data)
    assert torch.equal(one.views['mixed'].target.label, other.views['mixed'].target.label)
    assert torch.equal(one.views['mixed'].target.weight, other.views['mixed'].target.weight)
    for name in ('source', 'target'):
        assert torch.equal(other.views[name].image, data['inputs'][name])  # only the mixed image
    assert not torch.isclose(one.views['mixed'].image, other.views['mixed'].image).all()


@pytest.mark.parametrize('count', [1, 2, 4])
def test_any_batch_size(count):
    model = tiny.method('DACS', tiny.per_pixel())
    total, _ = tiny.losses_of(model, tiny.batch(count=count))
    assert torch.isfinite(total)


@pytest.mark.parametrize('kind', ['DACS', 'iDACS', 'CutMix', 'CowMix', 'MeanTeacher', 'NaiveClassMix'])
@pytest.mark.parametrize('content', [VOID, 3])
def test_images_of_void_or_of_one_class_only(kind, content):
    model = tiny.method(kind, tiny.per_pixel())
    data = tiny.batch()
    for one in data['source']['data_samples']:
        one.gt_sem_seg.data.fill_(content)
    total, logged = tiny.losses_of(model, data)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.student.parameters())
    if content == VOID:
        assert logged['source.decode.loss_ce'].item() == 0
    if kind == 'DACS':
        mask = step_of(model, model.data_preprocessor(data, True)).masks['classes']
        assert mask.all() if content == 3 else not mask.any()
