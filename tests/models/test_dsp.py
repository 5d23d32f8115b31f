"""DSP's patch, pastes and losses against loops over pixels, written from its equations."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.tools_runner import ROOT

from .dsp_tiny import BATCH, CLASSES, NO_ALIGNMENT, SIZE, VOID, data_of, labels_of, losses_of, model_of
from .tiny import step_of


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


RELEASED = Config.fromfile(ROOT / 'configs/_base_/dsp_released.py').dsp_released.to_dict()


def released_model():
    objectives = dict(NO_ALIGNMENT, mixed_source=dict(normalise='valid'))
    model = model_of(**RELEASED, objectives=objectives, teacher=dict(norm='running'))
    data = data_of(model)
    data['inputs']['rare_target'] = data_of(model, seed=7)['inputs']['rare']
    data['data_samples']['rare_target'] = data_of(model, seed=7)['data_samples']['rare']
    return model, data


@pytest.mark.parametrize('domain', ['source', 'target'])
def test_released_code_by_loops(domain):
    """A hard long-tail class over a soft paste; .9 and .1 of two means on the source, .9 and .9 q on the target."""
    model, data = released_model()
    for sample in data['data_samples']['source']:
        sample.gt_sem_seg.data[0, :3] = VOID  # so that a mean over labelled pixels is another
    step = step_of(model, data)
    masks = {name: mask[:, 0].numpy() for name, mask in step.masks.items()}
    branch = 'rare' if domain == 'source' else 'rare_target'
    rare, template = masks[branch], masks['patch']
    assert (rare & template).any() and (rare & ~template).any() and (~rare & ~template).any()
    below = labels_of(data, 'source') if domain == 'source' else teacher_labels(model, data)
    hard = np.where(rare, labels_of(data, branch), np.where(template, labels_of(data, 'donor'), below))
    images = soft_paste(0.9, template, data['inputs']['donor'].numpy(), data['inputs'][domain].numpy())
    images = np.where(rare[:, None], data['inputs'][branch].numpy(), images)
    np.testing.assert_allclose(step.views[f'mixed_{domain}'].image.numpy(), images, atol=1e-5)

    def entropies(label):
        logs = np.array([log_probs(model.student, image) for image in images])
        values = np.take_along_axis(logs, np.where(label == VOID, 0, label)[..., None], 3)[..., 0]
        return np.where(label == VOID, 0, -values)

    if domain == 'source':
        expected = sum(share * entropies(label).sum() / (label != VOID).sum()
                       for share, label in ((0.9, hard), (0.1, below)))
    else:
        q = step.statistics['pseudo/q'].item()
        assert 0 < q < 1
        expected = (0.9 * np.where(template, 1, q) * entropies(hard)).mean()
    assert losses_of(model, data)[1][f'mixed_{domain}.loss_ce'] == pytest.approx(expected, rel=1e-5)
