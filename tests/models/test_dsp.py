"""DSP end to end against loops over pixels, written from its equations."""

import math

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmseg_camix.models.uda.tables import TableError
from tests.ops.test_mmd import naive
from tests.sync_counter import SyncCounter

from . import tiny

BATCH, SIZE, CLASSES, VOID = 3, 16, 5, 255
NO_AUGMENTATION = dict(jitter_probability=0.0, blur_probability=0.0)
NO_ALIGNMENT = dict(align_patch=None, align_global=None)


def model_of(beta=0.8, segmentor=None, kind='DSP', **arguments):
    """A per-pixel classifier; the teacher has weights of its own, so that they are not confused."""
    views = {name: dict(opacity=beta) for name in ('mixed_source', 'mixed_target')} if kind == 'DSP' else None
    segmentor = tiny.per_pixel((SIZE, SIZE)) if segmentor is None else segmentor
    arguments = dict(dict(augment=NO_AUGMENTATION, views=views), **arguments)
    model = tiny.method(kind, segmentor, **arguments)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in [*model.student.parameters(), *model.teacher.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator))
    return model


def batch_of(seed=0, size=SIZE):
    """Four branches; a rare patch is void but for a few blocks."""
    data = tiny.batch(size, BATCH, seed)
    data['donor'] = tiny.batch(size, BATCH, seed + 1)['source']
    data['rare'] = tiny.batch(size, BATCH, seed + 2)['source']
    for i, one in enumerate(data['rare']['data_samples']):
        label = one.gt_sem_seg.data
        one.gt_sem_seg = PixelData(data=torch.where(label == (i + seed) % CLASSES, label, VOID))
    return data


def data_of(model, seed=0):
    return model.data_preprocessor(batch_of(seed), True)


def step_of(model, data):
    """The step after `_prepare`: its masks and views."""
    step = model._begin(data['inputs'], data['data_samples'])
    with torch.no_grad():
        model._prepare(step, data['inputs'], data['data_samples'])
    return step


def labels_of(data, branch):
    return torch.stack([s.gt_sem_seg.data[0] for s in data['data_samples'][branch]]).numpy()


def losses_of(model, data):
    total, logged = model.parse_losses(model(**data, mode='loss'))
    return total, {name: float(value) for name, value in logged.items()}


# ------------------------------------------------------------------ the slow reference


def log_probs(network, image):
    """image (3, H, W) -> (H, W, C), pixel by pixel, in float64."""
    conv = network.decode_head.conv_seg
    weight, bias = conv.weight.detach().double().numpy()[:, :, 0, 0], conv.bias.detach().double().numpy()
    result = np.zeros((SIZE, SIZE, CLASSES))
    for y in range(SIZE):
        for x in range(SIZE):
            scores = weight @ image[:, y, x].astype(np.float64) + bias
            result[y, x] = scores - math.log(sum(math.exp(s) for s in scores))
    return result


def soft_paste(beta, mask, patch, over):
    """Eqs 2 and 3, for (B, 3, H, W) images."""
    result = np.array(over)
    for b in range(BATCH):
        for y in range(SIZE):
            for x in range(SIZE):
                opacity = beta if mask[b, y, x] else 0.0
                result[b, :, y, x] = opacity * patch[b, :, y, x] + (1 - opacity) * over[b, :, y, x]
    return result


def soft_loss(model, images, beta, mask, patch_label, over_label):
    """Eqs 6 and 7, mean over the pixels."""
    total = 0.0
    for b in range(BATCH):
        found = log_probs(model.student, images[b])
        for y in range(SIZE):
            for x in range(SIZE):
                opacity = beta if mask[b, y, x] else 0.0
                for label, weight in ((patch_label[b, y, x], opacity), (over_label[b, y, x], 1 - opacity)):
                    if label != VOID:
                        total -= weight * found[y, x, label]
    return total / (BATCH * SIZE * SIZE)


def patch_of(data):
    """The patch's image and label: long-tail pixels over the template."""
    image, label = data['inputs']['donor'].numpy().copy(), labels_of(data, 'donor').copy()
    rare_image, rare_label = data['inputs']['rare'].numpy(), labels_of(data, 'rare')
    for b, y, x in np.argwhere(rare_label != VOID):
        image[b, :, y, x], label[b, y, x] = rare_image[b, :, y, x], rare_label[b, y, x]
    return image, label


def teacher_labels(model, data):
    return np.array([log_probs(model.teacher.model, image).argmax(-1) for image in data['inputs']['target'].numpy()])


# ------------------------------------------------------------------ patch, pastes, losses


def test_the_patch_is_half_of_the_template_and_all_of_the_rare_pixels():
    model = model_of()
    data = data_of(model)
    templates, rare = labels_of(data, 'donor'), labels_of(data, 'rare') != VOID
    choices = set()
    for iteration in range(10):
        model.set_progress(iteration, 100)
        mask = step_of(model, data).masks['patch'][:, 0].numpy()
        for b in range(BATCH):
            assert mask[b][rare[b]].all()
            rest, label = mask[b][~rare[b]], templates[b][~rare[b]]
            present = set(templates[b].flatten()) - {VOID}
            chosen = {c for c in present if rest[label == c].any()}
            assert all(rest[label == c].all() for c in chosen)
            assert len(chosen) == math.ceil(len(present) / 2)
            assert not rest[label == VOID].any()
            choices.add(frozenset(chosen))
    assert len(choices) > 5


@pytest.mark.parametrize('beta', [0.8, 0.3, 0.0, 1.0])
def test_soft_pastes_and_soft_losses(beta):
    model = model_of(beta)
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].numpy()
    assert 0.2 < mask.mean() < 0.9
    image, label = patch_of(data)
    _, logged = losses_of(model, data)
    recipients = dict(mixed_source=(data['inputs']['source'].numpy(), labels_of(data, 'source')),
                      mixed_target=(data['inputs']['target'].numpy(), teacher_labels(model, data)))
    for name, (over, over_label) in recipients.items():
        expected = soft_paste(beta, mask, image, over)
        np.testing.assert_allclose(step.views[name].image.numpy(), expected, atol=1e-5)
        loss = soft_loss(model, expected, beta, mask, label, over_label)
        assert logged[f'{name}.loss_ce'] == pytest.approx(loss, rel=1e-5)


def test_no_opacity_is_a_mean_teacher_with_twice_the_source():
    """beta = 0: the patch plays no part in any loss."""
    model = model_of(0.0, objectives=NO_ALIGNMENT)
    data = data_of(model)
    twice = model_of(kind='PseudoLabelling', pseudo_labels=dict(weighted=False), objectives=dict(
        again=dict(type='PixelCrossEntropy', view='source')))
    two = {name: {k: v for k, v in branches.items() if k in ('source', 'target')} for name, branches in data.items()}
    (total, logged), (expected, reference) = losses_of(model, data), losses_of(twice, two)
    assert logged['mixed_source.loss_ce'] == pytest.approx(reference['again.loss_ce'], rel=1e-5)
    assert logged['mixed_target.loss_ce'] == pytest.approx(reference['strong.loss_ce'], rel=1e-5)
    torch.testing.assert_close(total, expected)
    other = data_of(model, seed=5)
    for part in ('inputs', 'data_samples'):
        data[part].update({name: other[part][name] for name in ('donor', 'rare')})
    torch.testing.assert_close(losses_of(model, data)[0], total)


def test_full_opacity_is_a_dual_hard_paste():
    """beta = 1: each mixed image has one label, as DACS's."""
    model = model_of(1.0, objectives=NO_ALIGNMENT)
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].numpy()
    image, label = patch_of(data)
    total, logged = losses_of(model, data)
    expected = logged['source.decode.loss_ce']
    for name, over_label in (('source', labels_of(data, 'source')), ('target', teacher_labels(model, data))):
        hard = np.where(mask, label, over_label)
        pasted = np.where(mask[:, None], image, data['inputs'][name].numpy())
        np.testing.assert_array_equal(step.views[f'mixed_{name}'].target.label.numpy(), hard)
        everywhere = np.ones_like(mask)
        loss = soft_loss(model, pasted, 1.0, everywhere, hard, hard)
        assert logged[f'mixed_{name}.loss_ce'] == pytest.approx(loss, rel=1e-5)
        expected += loss
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_the_released_loss_on_the_target_lacks_a_term():
    """`recipient_term=False`: the hard paste's labels, everywhere with weight beta."""
    model = model_of(views=dict(mixed_target=dict(recipient_term=False)))
    data = data_of(model)
    mask = step_of(model, data).masks['patch'][:, 0].numpy()
    image, label = patch_of(data)
    over_label = teacher_labels(model, data)
    pasted = soft_paste(0.8, mask, image, data['inputs']['target'].numpy())
    hard = np.where(mask, label, over_label)
    expected = 0.8 * soft_loss(model, pasted, 1.0, np.ones_like(mask), hard, hard)
    assert losses_of(model, data)[1]['mixed_target.loss_ce'] == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------ alignment


@pytest.mark.parametrize('masked', [True, False])
def test_alignment_of_cells(masked):
    """Eqs 8 and 9: features of a pass-through backbone are the images; each has its own mask."""
    model = model_of()
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].float()
    expected = 0.0
    for b in range(BATCH):
        x, y = (step.views[name].image[b].flatten(1).T.double() for name in ('mixed_source', 'mixed_target'))
        keep = mask[b].flatten().bool() if masked else torch.ones(SIZE**2, dtype=torch.bool)
        keep &= torch.arange(SIZE**2) % 8 == 0  # or the loops take long
        x, y = x[keep], y[keep]
        expected += naive(x, y, [1.0] * len(x), [1.0] * len(y), 5, 2.0) / BATCH
    every_eighth = (torch.arange(SIZE**2) % 8 == 0).view(1, 1, SIZE, SIZE)
    step.masks['patch'] = every_eighth & (step.masks['patch'] | (not masked))
    objective = model.objectives['align_patch']
    step.passes = {name: model._see(step.views[name].image, False) for name in objective.reads}
    assert objective(step, model.student)['loss_mmd'].item() == pytest.approx(0.005 * expected, rel=1e-3)


def test_alignment_of_images():
    """The released code's samples: one average of each image."""
    model = model_of(objectives=dict(align_patch=dict(samples='images'), align_global=dict(samples='images')))
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].double()
    x, y = (step.views[name].image.double() for name in ('mixed_source', 'mixed_target'))
    _, logged = losses_of(model, data)
    ones = [1.0] * BATCH
    assert logged['align_global.loss_mmd'] == pytest.approx(
        0.005 * naive(x.mean((2, 3)), y.mean((2, 3)), ones, ones, 5, 2.0), rel=1e-3)
    inside = [(maps * mask[:, None]).sum((2, 3)) / mask.sum((1, 2))[:, None] for maps in (x, y)]
    assert logged['align_patch.loss_mmd'] == pytest.approx(0.005 * naive(*inside, ones, ones, 5, 2.0), rel=1e-3)


def test_the_mask_of_the_first_image_can_serve_for_all():
    own, shared = (model_of(objectives=dict(align_patch=dict(shared_mask=value))) for value in (False, True))
    data = data_of(own)
    step = step_of(own, data)
    features = torch.zeros(BATCH, 3, SIZE, SIZE)
    assert torch.equal(own.objectives['align_patch']._weight(step, features)[2], step.masks['patch'][2, 0].float())
    assert torch.equal(shared.objectives['align_patch']._weight(step, features)[2], step.masks['patch'][0, 0].float())


def test_few_cells_estimate_many():
    values = {}
    for cells in (64, 256, 1000):
        model = model_of(objectives=dict(align_global=dict(cells=cells)))
        data = data_of(model)
        data['inputs']['target'] += 3.0  # or the bias of a small sample would be most of it
        found = values[cells] = []
        for iteration in range(4):
            model.set_progress(iteration, 100)
            found.append(losses_of(model, data)[1]['align_global.loss_mmd'])
    assert values[256] == values[1000]  # as many as there are
    assert values[64] != values[256]
    assert values[64] == pytest.approx(values[256], rel=0.2)


@pytest.mark.parametrize('segmentor', [None, tiny.small(crop=(SIZE, SIZE))])
def test_an_empty_patch_aligns_nothing(segmentor):
    model = model_of(segmentor=segmentor)
    data = data_of(model)
    for branch in ('donor', 'rare'):
        for one in data['data_samples'][branch][1:]:
            one.gt_sem_seg = PixelData(data=torch.full((1, SIZE, SIZE), VOID))
    total, logged = losses_of(model, data)
    assert logged['align_patch.loss_mmd'] > 0  # of the first image
    first = data['data_samples']['donor'][0], data['data_samples']['rare'][0]
    for one in first:
        one.gt_sem_seg = PixelData(data=torch.full((1, SIZE, SIZE), VOID))
    total, logged = losses_of(model, data)
    assert logged['align_patch.loss_mmd'] == 0
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.student.parameters())


def test_a_patch_smaller_than_a_cell_aligns_nothing():
    """One pixel that the nearest-pixel reduction by 2 skips."""
    model = model_of(segmentor=tiny.small(crop=(SIZE, SIZE)))
    data = data_of(model)
    for branch, pixel in (('donor', None), ('rare', (5, 7))):
        for one in data['data_samples'][branch]:
            label = torch.full((1, SIZE, SIZE), VOID)
            if pixel:
                label[0, pixel[0], pixel[1]] = 1
            one.gt_sem_seg = PixelData(data=label)
    assert step_of(model, data).masks['patch'].sum() == BATCH
    assert losses_of(model, data)[1]['align_patch.loss_mmd'] == 0


# ------------------------------------------------------------------ the step


def count_passes(module):
    seen = []
    module.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


def test_both_mixed_images_pass_as_one_batch():
    together, apart = model_of(), model_of(joint_views=())
    data = data_of(together)
    sizes = [count_passes(model.student.backbone) for model in (together, apart)]
    one, other = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert sizes == [[BATCH, 2 * BATCH], [BATCH] * 3]
    assert one == pytest.approx(other, rel=1e-5)  # nothing in this network looks at the batch


def test_what_passes_together_shares_batch_statistics():
    together, apart = (tiny.method('DSP', tiny.small(crop=(SIZE, SIZE)), augment=NO_AUGMENTATION, **kwargs)
                       for kwargs in (dict(), dict(joint_views=())))
    data = data_of(together)
    for model in (together, apart):
        model.student.backbone.dropout.p = model.student.decode_head.dropout.p = 0.0
    one, other = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert one['source.decode.loss_ce'] == pytest.approx(other['source.decode.loss_ce'], rel=1e-5)
    assert one['mixed_source.loss_ce'] != pytest.approx(other['mixed_source.loss_ce'], rel=1e-4)


@pytest.mark.parametrize('name', tiny.segmentors())
def test_any_segmentor(name):
    model = tiny.method('DSP', tiny.segmentors()[name])
    data = batch_of(size=32)
    for branch in data.values():
        for one in branch['data_samples']:
            if 'gt_sem_seg' in one:
                one.gt_edge_map = PixelData(data=(one.gt_sem_seg.data == 1).long())
    total, _ = tiny.losses_of(model, data)
    total.backward()
    assert all(p.grad is not None for p in model.student.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('removed', ['source', 'mixed_source', 'mixed_target', 'align_patch', 'align_global'])
def test_each_loss_can_be_switched_off(removed):
    model, whole = model_of(objectives={removed: None}), model_of()
    data = data_of(model)
    (total, logged), (every, reference) = losses_of(model, data), losses_of(whole, data)
    gone = set(reference) - set(logged)
    assert gone
    assert all(name.startswith(f'{removed}.') for name in gone)
    difference = sum(value for name, value in reference.items() if name in gone and '.loss' in name or
                     name in gone and 'decode.loss' in name)
    assert every.item() - total.item() == pytest.approx(difference, abs=1e-5)


def test_single_paste():
    """Without the paste on the source there is no second view, nor anything to align it with."""
    model = model_of(1.0, views=dict(mixed_source=None, mixed_target=dict(opacity=1.0)),
                     objectives=dict(mixed_source=None, **NO_ALIGNMENT))
    sizes = count_passes(model.student.backbone)
    _, logged = losses_of(model, data_of(model))
    assert sizes == [BATCH, BATCH]
    assert 'mixed_target.loss_ce' in logged


def test_a_step_can_be_replayed():
    model = model_of(objectives=dict(align_global=dict(cells=20)), augment=dict(jitter_probability=1.0))
    data, found = data_of(model), {}
    for key in (0, 1, 0):
        model.set_progress(key, 100)
        torch.manual_seed(len(found))
        losses = losses_of(model, data)[1]
        assert found.setdefault(key, losses) == losses
    assert found[0] != found[1]


def test_nothing_waits_for_the_device(monkeypatch):
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.accuracy', lambda *args, **kwargs: torch.zeros(1))
    model = model_of(objectives=dict(align_global=dict(cells=20)))
    data = data_of(model)
    model.loss(data['inputs'], data['data_samples'])
    with SyncCounter() as counter:
        losses = model.loss(data['inputs'], data['data_samples'])
        sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert not counter.names


# ------------------------------------------------------------------ errors


def test_missing_branches_are_named():
    model = model_of()
    with pytest.raises(ValueError, match='DSP needs images of donor, rare, but the data set gives source, target'):
        tiny.losses_of(model, tiny.batch(SIZE, BATCH))


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(objectives=dict(align_patch=dict(mask='pach'))), r"'align_patch' reads mask 'pach'.*patch, rare"),
    (dict(objectives=dict(align_patch=dict(other='mixd'))), r"'align_patch' reads view 'mixd'.*mixed_source"),
    (dict(objectives=dict(align_patch=dict(samples='pixels'))), "samples='pixels' must be one of cells, images"),
    (dict(objectives=dict(align_patch=dict(cells=0))), 'cells=0 and kernels=5 must be at least 1'),
    (dict(objectives=dict(align_patch=dict(features=3))), r'align_patch.*features=3: the backbone .* gives 1 maps'),
    (dict(masks=dict(patch=dict(rare='rar'))), r"mask 'patch' reads branch 'rar'.*donor, rare, source, target"),
    (dict(joint_views=[('mixed_source', 'mixd')]), r"joint_views' reads view 'mixd'"),
    (dict(joint_views=[('mixed_source', 'source'), ('source', 'target')]), 'joint_views has a view twice'),
])
def test_wrong_tables(arguments, message):
    with pytest.raises(TableError, match=message):
        tiny.method('DSP', tiny.per_pixel(), **arguments)
