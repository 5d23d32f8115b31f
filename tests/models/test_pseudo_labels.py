"""Pseudo-labels and the baselines that use them: alignment, mean teacher, naive ClassMix."""

import torch

from mmseg_camix.models.pseudo_labels import DistributionAlignment, PseudoLabels

from . import tiny
from .test_views import SHAPE, make_step


def test_naive_classmix_mixes_the_targets_among_themselves():
    model = tiny.method('NaiveClassMix', tiny.per_pixel(), augment=tiny.NO_AUGMENTATION)
    data = model.data_preprocessor(tiny.batch(count=3), True)
    step = tiny.step_of(model, data)
    images, label = data['inputs']['target'], step.views['target'].target.label
    region = step.masks['classes']
    expected = torch.where(region, images, images.roll(1, 0))
    assert torch.equal(step.views['mixed'].image, expected)
    assert torch.equal(step.views['mixed'].target.label, torch.where(region[:, 0], label, label.roll(1, 0)))


def test_mean_teacher_compares_distributions_with_full_weight():
    model = tiny.method('MeanTeacher', tiny.per_pixel(), augment=tiny.NO_AUGMENTATION)
    with torch.no_grad():
        model.teacher.model.decode_head.conv_seg.weight.normal_()
    data = model.data_preprocessor(tiny.batch(), True)
    images = data['inputs']['target']
    networks = (model.student, model.teacher.model)
    p, q = (network.decode_head.conv_seg(images).softmax(1) for network in networks)
    losses = model(**data, mode='loss')
    torch.testing.assert_close(losses['strong.loss_mse'], (p - q).square().sum(1).mean())
    assert losses['strong.loss_mse'] > 1e-4
    assert losses['pseudo/q'] == 1


def test_pseudo_labelling_trains_on_the_arg_max():
    model = tiny.method('PseudoLabelling', tiny.per_pixel(), pseudo_labels=dict(threshold=0.0),
                        augment=tiny.NO_AUGMENTATION)
    data = model.data_preprocessor(tiny.batch(), True)
    conv = [network.decode_head.conv_seg for network in (model.student, model.teacher.model)]
    with torch.no_grad():
        conv[1].weight.normal_()
    student, teacher = (item(data['inputs']['target']) for item in conv)
    expected = torch.nn.functional.cross_entropy(student, teacher.argmax(1))
    torch.testing.assert_close(model(**data, mode='loss')['strong.loss_ce'], expected)


def test_padding_gets_no_pseudo_label_and_does_not_count():
    """The second target is 20 x 24 in a crop of 32 x 32; as a batch of its own size it gets the same."""
    model = tiny.method('DACS', tiny.per_pixel(), pseudo_labels=dict(threshold=0.5, per='image', quota={}))
    with torch.no_grad():
        model.teacher.model.decode_head.conv_seg.weight.normal_()
    data = tiny.padded_batch(model)
    assert data['inputs']['target'].shape == (2, 3, 32, 32)
    step = tiny.step_of(model, data)
    with torch.no_grad():
        probs = model.teacher.model.decode_head.conv_seg(data['inputs']['target']).softmax(1)
    confidence, best = probs.max(1)
    label, weight = step.views['target'].target.label, step.views['target'].target.weight
    q = (confidence[1, :20, :24] >= 0.5).float().mean()
    assert torch.equal(label[0], best[0])
    assert torch.equal(label[1, :20, :24], best[1, :20, :24])
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[:20, :24] = False
    kept = weight > 0
    torch.testing.assert_close(weight[1][kept[1]], q.expand(int(kept[1].sum())))
    inside = torch.stack([torch.ones_like(outside), ~outside])
    torch.testing.assert_close(step.statistics['pseudo/kept'], kept[inside].float().mean())
    torch.testing.assert_close(step.statistics['pseudo/confidence'], confidence[inside].mean())
    assert (label[1][outside] == step.ignore_index).all()
    assert (weight[1][outside] == 0).all()


def test_padding_does_not_count_in_the_alignment():
    model = tiny.method('DACS', tiny.per_pixel(), pseudo_labels=dict(align=dict(prior=[1.0] * 5, momentum=0.0)))
    step = tiny.step_of(model, tiny.padded_batch(model))
    inside = step.views['target'].target.label != step.ignore_index
    expected = step.teacher_logits.softmax(1).movedim(1, -1)[inside].mean(0)
    torch.testing.assert_close(model.pseudo_labels.align.running, expected)


def prepared_alignment(prior, classes=2, **arguments):
    align = DistributionAlignment(prior, **arguments)
    align.set_num_classes(classes)
    align.prepare()
    return align


def test_distribution_alignment_by_hand():
    align = prepared_alignment([3.0, 1.0], momentum=0.5)
    torch.testing.assert_close(align.prior, torch.tensor([0.75, 0.25]))
    probs = torch.tensor([[0.5, 0.1], [0.5, 0.9]]).view(1, 2, 1, 2)  # two pixels
    # The mean prediction is (.3, .7); p~ moves half of the way from (.75, .25): (.525, .475).
    aligned = align(probs)
    torch.testing.assert_close(align.running, torch.tensor([0.525, 0.475]))
    for x in range(2):
        raw = [probs[0, c, 0, x].item() * prior / running for c, prior, running in ((0, .75, .525), (1, .25, .475))]
        torch.testing.assert_close(aligned[0, :, 0, x], torch.tensor(raw) / sum(raw))


def test_alignment_state_is_saved():
    model = tiny.method('NaiveClassMix', tiny.per_pixel(), pseudo_labels=dict(align=dict(prior=[1., 1, 1, 1, 4])))
    tiny.losses_of(model, tiny.batch())
    state = model.state_dict()
    assert 'pseudo_labels.align.running' in state
    other = tiny.method('NaiveClassMix', tiny.per_pixel(), pseudo_labels=dict(align=dict(prior=[1., 1, 1, 1, 4])))
    other.load_state_dict(state)
    assert torch.equal(other.pseudo_labels.align.running, model.pseudo_labels.align.running)
    assert not torch.equal(other.pseudo_labels.align.running, other.pseudo_labels.align.prior)


def test_a_prior_from_a_file(tmp_path):
    (tmp_path / 'stats.json').write_text('{"total_pixels": [2, 6]}')
    align = prepared_alignment(str(tmp_path / 'stats.json'))
    torch.testing.assert_close(align.prior, torch.tensor([0.25, 0.75]))


def test_labels_do_not_depend_on_how_the_softmax_is_taken():
    """The short way (arg-max of logits) and the long way (whole distribution) agree."""
    step = make_step()
    step.teacher_logits = torch.randn(2, 5, 8, 12, generator=torch.Generator().manual_seed(3))
    image = torch.zeros(2, 3, *SHAPE[1:])
    short, long = PseudoLabels(threshold=0.5), PseudoLabels(threshold=0.5)
    long.keep_probs = True
    first, second = short(step, image), long(step, image)
    assert torch.equal(first.target.label, second.target.label)
    torch.testing.assert_close(first.target.weight, second.target.weight)
    assert first.target.probs is None
    torch.testing.assert_close(second.target.probs.sum(1), torch.ones(SHAPE))
