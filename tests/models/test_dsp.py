"""DSP's patch, pastes and losses against its equations in NumPy; its passes, switches and errors."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from tests.tools_runner import ROOT

from . import tiny
from .dsp_tiny import BATCH, NO_ALIGNMENT, SIZE, VOID, batch_of, data_of, dsp, losses_of
from .reference import cross_entropy, labels_of, model_of, teacher_probabilities
from .tiny import NO_AUGMENTATION, inputs_of, rejects, step_of


def soft_paste(beta, mask, patch, over):
    """Eqs 2 and 3, for (B, 3, H, W) images."""
    opacity = beta * mask[:, None]
    return opacity * patch + (1 - opacity) * over


def soft_loss(model, images, beta, mask, patch_label, over_label):
    """Eqs 6 and 7, mean over the pixels."""
    return (cross_entropy(model, images, patch_label, beta * mask)
            + cross_entropy(model, images, over_label, 1 - beta * mask)).mean()


def patch_of(data):
    """The patch's image and label: long-tail pixels over the template."""
    rare = labels_of(data, 'rare')
    image = np.where((rare != VOID)[:, None], data['inputs']['rare'].numpy(), data['inputs']['donor'].numpy())
    return image, np.where(rare != VOID, rare, labels_of(data, 'donor'))


def recipients_of(model, data):
    """View -> image and label on which the patch is pasted."""
    return dict(mixed_source=(data['inputs']['source'].numpy(), labels_of(data)),
                mixed_target=(data['inputs']['target'].numpy(), teacher_probabilities(model, data).argmax(-1)))


def test_patch_is_half_of_the_template_and_all_rare_pixels():
    model = dsp()
    data = data_of(model)
    templates, rare = labels_of(data, 'donor'), labels_of(data, 'rare') != VOID
    choices = set()
    for iteration in range(10):
        model.set_progress(iteration, 100)
        mask = step_of(model, data).masks['patch'][:, 0].numpy()
        assert mask[rare].all()
        for b in range(BATCH):
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
    """With beta = 1 each mixed image has one label, as DACS's."""
    model = dsp(beta)
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].numpy()
    assert 0.2 < mask.mean() < 0.9
    image, label = patch_of(data)
    _, logged = losses_of(model, data)
    for name, (over, over_label) in recipients_of(model, data).items():
        expected = soft_paste(beta, mask, image, over)
        np.testing.assert_allclose(step.views[name].image.numpy(), expected, atol=1e-5)
        loss = soft_loss(model, expected, beta, mask, label, over_label)
        assert logged[f'{name}.loss_ce'] == pytest.approx(loss, rel=1e-5)
        if beta == 1:
            np.testing.assert_array_equal(step.views[name].target.label.numpy(), np.where(mask, label, over_label))


def test_no_opacity_is_a_mean_teacher_with_twice_the_source():
    """beta = 0: the patch has no part in any loss."""
    model = dsp(0.0, objectives=NO_ALIGNMENT)
    data = data_of(model)
    twice = model_of('PseudoLabelling', pseudo_labels=dict(weighted=False), objectives=dict(
        repeated=dict(type='PixelCrossEntropy', view='source')))
    two = {name: {k: v for k, v in branches.items() if k in ('source', 'target')} for name, branches in data.items()}
    (total, logged), (expected, reference) = losses_of(model, data), losses_of(twice, two)
    assert logged['mixed_source.loss_ce'] == pytest.approx(reference['repeated.loss_ce'], rel=1e-5)
    assert logged['mixed_target.loss_ce'] == pytest.approx(reference['strong.loss_ce'], rel=1e-5)
    torch.testing.assert_close(total, expected)
    other = data_of(model, seed=5)
    for part in ('inputs', 'data_samples'):
        data[part].update({name: other[part][name] for name in ('donor', 'rare')})
    torch.testing.assert_close(losses_of(model, data)[0], total)


def test_released_loss_on_the_target_lacks_a_term():
    """`recipient_term=False`: the hard paste's labels, everywhere with weight beta."""
    model = dsp(views=dict(mixed_target=dict(recipient_term=False)))
    data = data_of(model)
    mask = step_of(model, data).masks['patch'][:, 0].numpy()
    image, label = patch_of(data)
    over, over_label = recipients_of(model, data)['mixed_target']
    hard = np.where(mask, label, over_label)
    expected = cross_entropy(model, soft_paste(0.8, mask, image, over), hard, 0.8).mean()
    assert losses_of(model, data)[1]['mixed_target.loss_ce'] == pytest.approx(expected, rel=1e-5)


RELEASED = Config.fromfile(ROOT / 'configs/_base_/dsp_released.py').dsp_released.to_dict()


def released_model():
    objectives = dict(NO_ALIGNMENT, mixed_source=dict(normalise='valid'))
    model = model_of('DSP', **RELEASED, objectives=objectives, teacher=dict(norm='running'))
    data = data_of(model)
    data['inputs']['rare_target'] = data_of(model, seed=7)['inputs']['rare']
    data['data_samples']['rare_target'] = data_of(model, seed=7)['data_samples']['rare']
    return model, data


@pytest.mark.parametrize('domain', ['source', 'target'])
def test_released_code(domain):
    """A hard long-tail class over a soft paste; .9 and .1 of two means on the source, .9 and .9 q on the target."""
    model, data = released_model()
    for sample in data['data_samples']['source']:
        sample.gt_sem_seg.data[0, :3] = VOID  # so that a mean over labelled pixels is another
    step = step_of(model, data)
    masks = {name: mask[:, 0].numpy() for name, mask in step.masks.items()}
    branch = 'rare' if domain == 'source' else 'rare_target'
    rare, template = masks[branch], masks['patch']
    assert (rare & template).any() and (rare & ~template).any() and (~rare & ~template).any()
    below = recipients_of(model, data)[f'mixed_{domain}'][1]
    hard = np.where(rare, labels_of(data, branch), np.where(template, labels_of(data, 'donor'), below))
    images = soft_paste(0.9, template, data['inputs']['donor'].numpy(), data['inputs'][domain].numpy())
    images = np.where(rare[:, None], data['inputs'][branch].numpy(), images)
    np.testing.assert_allclose(step.views[f'mixed_{domain}'].image.numpy(), images, atol=1e-5)

    def entropies(label):
        return cross_entropy(model, images, label, 1.0)

    if domain == 'source':
        expected = sum(share * entropies(label).sum() / (label != VOID).sum()
                       for share, label in ((0.9, hard), (0.1, below)))
    else:
        q = step.statistics['pseudo/q'].item()
        assert 0 < q < 1
        expected = (0.9 * np.where(template, 1, q) * entropies(hard)).mean()
    assert losses_of(model, data)[1][f'mixed_{domain}.loss_ce'] == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------ passes


def test_both_mixed_images_pass_as_one_batch():
    together, apart = dsp(), dsp(joint_views=())
    data = data_of(together)
    passes = [inputs_of(model.student.backbone) for model in (together, apart)]
    joint, single = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert [[len(images) for images in inputs] for inputs in passes] == [[BATCH, 2 * BATCH], [BATCH] * 3]
    assert joint == pytest.approx(single, rel=1e-5)  # nothing in this network depends on the batch


def test_joint_views_share_batch_statistics():
    together, apart = (tiny.method('DSP', tiny.small(crop=(SIZE, SIZE)), augment=NO_AUGMENTATION, **kwargs)
                       for kwargs in (dict(), dict(joint_views=())))
    data = data_of(together)
    for model in (together, apart):
        model.student.backbone.dropout.p = model.student.decode_head.dropout.p = 0.0
    joint, single = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert joint['source.decode.loss_ce'] == pytest.approx(single['source.decode.loss_ce'], rel=1e-5)
    assert joint['mixed_source.loss_ce'] != pytest.approx(single['mixed_source.loss_ce'], rel=1e-4)


@pytest.mark.parametrize('name', tiny.segmentors())
def test_any_segmentor(name):
    model = tiny.method('DSP', tiny.segmentors()[name])
    data = batch_of(size=32)
    for branch in data.values():
        for sample in branch['data_samples']:
            if 'gt_sem_seg' in sample:
                sample.gt_edge_map = PixelData(data=(sample.gt_sem_seg.data == 1).long())
    total, _ = tiny.losses_of(model, data)
    total.backward()
    assert all(p.grad is not None for p in model.student.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('removed', ['source', 'mixed_source', 'mixed_target', 'align_patch', 'align_global'])
def test_each_loss_can_be_switched_off(removed):
    model, whole = dsp(objectives={removed: None}), dsp()
    data = data_of(model)
    (total, logged), (every, reference) = losses_of(model, data), losses_of(whole, data)
    removed_names = set(reference) - set(logged)
    assert removed_names
    assert all(name.startswith(f'{removed}.') for name in removed_names)
    difference = sum(value for name, value in reference.items() if name in removed_names and 'loss' in name)
    assert every.item() - total.item() == pytest.approx(difference, abs=1e-5)


def test_single_paste():
    """Without the paste on the source there is no second view, nor anything to align it with."""
    model = dsp(1.0, views=dict(mixed_source=None, mixed_target=dict(opacity=1.0)),
                objectives=dict(mixed_source=None, **NO_ALIGNMENT))
    inputs = inputs_of(model.student.backbone)
    _, logged = losses_of(model, data_of(model))
    assert [len(images) for images in inputs] == [BATCH, BATCH]
    assert 'mixed_target.loss_ce' in logged


# ------------------------------------------------------------------ errors


def test_missing_branches_are_named():
    model = dsp()
    with pytest.raises(ValueError, match='DSP needs images of donor, rare, but the data set gives only '
                                         'source, target; .*source=..., target=..., donor=..., rare=...'):
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
    rejects(message, kind='DSP', **arguments)
