"""RCCR: its contrast by hand, its gradient, projector, bank and switches, and mistakes in its arguments."""

import copy
import math

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmseg_camix.ops.contrast import EMPTY
from tests.ops.contrast_reference import slow

from . import tiny
from .tiny import NO_AUGMENTATION, inputs_of, rejects

SEGMENTORS = tiny.segmentors()


def rccr(segmentor=None, seed=0, iteration=0, masks=None, augment=None, **contrast):
    """All cells of the square are anchors, unless ``confidence`` is given."""
    masks = dict(square=dict(area=(0.5, 1.0))) if masks is None else masks
    return tiny.method('RCCR', segmentor, seed, iteration, masks=masks, augment=augment,
                       objectives=dict(contrast=dict(dict(confidence=None), **contrast)))


def own(model):
    return model.objectives['contrast']


def step(model, data=None):
    """The named losses of a step, with their gradient."""
    data = model.data_preprocessor(tiny.batch() if data is None else data, True)
    return model.loss(data['inputs'], data['data_samples'])


def contrast(model, data=None):
    return step(model, data)['contrast.loss_contrast']


# ------------------------------------------------------------------ the loss


@pytest.mark.parametrize('normalise', ['positives', 'overlap'])
def test_against_the_quadruple_loop(normalise):
    """From images to the loss: the mask, the cells' labels and trust, and both projections."""
    model = rccr(tiny.per_pixel((8, 8)), augment=NO_AUGMENTATION, masks={}, weight=1.0, negative_ratio=1.0, bank=0,
                 confidence=0.4, channels=6, normalise=normalise)
    recorded = {}
    model.views['cut'].register_forward_hook(lambda view, inputs, out: recorded.update(step=inputs[0], cut=out))
    loss = contrast(model, tiny.batch(8))
    now, network = recorded['step'], own(model)
    with torch.no_grad():
        confidence = now.teacher_logits.softmax(1).amax(1)
        maps = dict(
            cut=network.projector(recorded['cut'].image), target=network.twin.model(now.views['target'].image),
            cut_label=recorded['cut'].target.label, target_label=now.views['target'].target.label,
            overlap=now.masks['square'][:, 0], sure=confidence > 0.4)
    assert 0.2 < maps['sure'].float().mean() < 0.9, 'the threshold must have an effect'
    assert (maps['cut_label'] == 255).any()
    assert loss.item() == pytest.approx(slow(maps, normalise=normalise), rel=1e-3)


def test_mu_follows_the_paper():
    """.01 exp(-5 (1 - t / T)^.5), on an unchanged loss."""
    values = []
    for iteration in (0, 50, 100):
        model = rccr()
        weight = own(model).weight
        values.append(weight(iteration, 100))
    assert values == pytest.approx([0.01 * math.exp(-5), 0.01 * math.exp(-5 * math.sqrt(0.5)), 0.01])
    official = own(rccr(weight=dict(power_of='elapsed'))).weight
    assert official(25, 100) == pytest.approx(0.01 * math.exp(-5 * (1 - 0.5)))
    losses = [contrast(rccr(weight=weight)).item() for weight in (1.0, 0.25)]
    assert losses[1] == pytest.approx(losses[0] / 4)


def test_the_gradient_arrives():
    """In the backbone and the projector; never in the teacher, the twin or the student's head."""
    model = rccr(weight=1.0)
    contrast(model).backward()
    for part in (model.student.backbone.conv, model.student.backbone.norm, own(model).projector):
        for p in part.parameters():
            assert p.grad is not None
            assert p.grad.abs().sum() > 0
    for part in (model.teacher, own(model).twin, model.student.decode_head):
        assert all(p.grad is None for p in part.parameters())
    assert not any(p.requires_grad for p in own(model).twin.parameters())


def test_no_anchors_is_zero():
    model = rccr(confidence=1.0)
    losses = step(model)
    assert losses['contrast.loss_contrast'] == 0
    assert losses['contrast/anchors'] == 0
    losses['contrast.loss_contrast'].backward()
    assert all((p.grad == 0).all() for p in own(model).projector.parameters())


# ------------------------------------------------------------------ projector and twin


@pytest.mark.parametrize('name', SEGMENTORS)
def test_any_segmentor(name):
    size = 64 if name == 'SegFormer' else 32  # of which 32 pixels are a cell
    segmentor = dict(SEGMENTORS[name], data_preprocessor=tiny.preprocessor((size, size)))
    model = rccr(segmentor, masks={}, filter_class=False)
    total, logged = tiny.losses_of(model, tiny.batch(size, edges=name == 'PIDHead'))
    total.backward()
    assert torch.isfinite(total)
    assert logged['contrast/anchors'] > 0
    assert own(model).projector[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(('features', 'width', 'stride'), [(None, 64, 8), (0, 8, 4), (1, 16, 8), (-1, 64, 8)])
def test_the_projector_fits_the_features(features, width, stride):
    model = rccr(SEGMENTORS['FCN with an auxiliary head'], features=features)
    layers = own(model).projector
    assert [type(layer).__name__ for layer in layers] == ['Conv2d', 'ReLU', 'Conv2d']
    assert [p.shape for p in layers.parameters() if p.dim() > 1] == [(width, width, 1, 1), (128, width, 1, 1)]
    assert own(model).stride == stride
    assert [item.out_channels for item in own(rccr(hidden=7, channels=9)).projector if hasattr(item, 'bias')] == [7, 9]


def test_the_twin_follows_as_the_teacher():
    """By hand: the first update copies, the second is the mean, as for the teacher."""
    model = rccr()
    assert own(tiny.method('RCCR', teacher=dict(alpha=0.3))).twin.alpha == 0.3
    layer, twin = own(model).projector[0], own(model).twin.model[0]
    assert torch.equal(layer.weight, twin.weight)
    states = []
    for value in (2.0, 5.0):
        with torch.no_grad():
            layer.weight.fill_(value)
            model.student.backbone.conv.weight.fill_(value)
        model.update_teacher()
        states.append((twin.weight.unique().tolist(), model.teacher.model.backbone.conv.weight.unique().tolist()))
    assert states == [([2.0], [2.0]), ([3.5], [3.5])]
    assert own(model).twin.steps_made == model.teacher.steps_made == 2


def test_the_networks_stay_plain_segmentors():
    """Prediction and export use no projector."""
    model = rccr()
    plain = set(tiny.build(tiny.small()).state_dict())
    for name in ('student', 'teacher'):
        assert set(model.network(name).state_dict()) == plain
    parts = {key.split('.')[2] for key in model.state_dict() if key.startswith('objectives.contrast')}
    assert parts == {'projector', 'twin', 'bank'}
    projections = inputs_of(own(model).projector), inputs_of(own(model).twin.model)
    model.eval().test_step(tiny.batch()['target'])
    assert not any(projections)


def test_its_learning_rate():
    model = rccr()
    wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=10.0)))))
    rates = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    assert {rates[id(p)] for p in own(model).projector.parameters()} == {1.0}
    assert {rates[id(p)] for p in model.student.parameters()} == {0.1}


# ------------------------------------------------------------------ memory bank


def test_the_bank_holds_the_last_three_batches():
    model = rccr(masks={})
    bank, kept = own(model).bank, []
    assert bank.labels.numel() == 0
    for iteration in range(5):
        model.set_progress(iteration, 100)
        step(model, tiny.batch(seed=iteration))
        kept.append((bank.embeddings[0].clone(), bank.labels[0].clone()))
        filled = (bank.labels != EMPTY).all(1)
        assert filled.tolist() == [i <= iteration for i in range(3)]
        for i, (embedding, label) in enumerate(reversed(kept[-3:])):
            assert torch.equal(bank.embeddings[i], embedding)
            assert torch.equal(bank.labels[i], label)
    # Half of the 2 x 16 x 16 cells of two images; of length one, without gradient, fp32.
    assert bank.embeddings.shape == (3, 512, 128)
    torch.testing.assert_close(bank.embeddings.norm(dim=2), torch.ones(3, 512))
    assert not bank.embeddings.requires_grad
    assert bank.embeddings.dtype == torch.float32


def test_bank_adds_negatives():
    """More negatives, a larger loss; the first step has none yet."""
    losses = {}
    for size in (0, 3):
        model = rccr(bank=size, weight=1.0)
        losses[size] = [contrast(model).item() for _ in range(2)]
    assert losses[0][0] == losses[3][0]
    assert losses[3][1] > losses[0][1] + 0.3


def test_bank_survives_a_resume():
    """In a new model whose bank is empty: the next step is the same, number by number."""
    model = rccr()
    for seed in range(2):
        step(model, tiny.batch(seed=seed))
    state, results = copy.deepcopy(model.state_dict()), []
    resumed = rccr(seed=9)
    resumed.load_state_dict(state)
    for item in (model, resumed):
        torch.manual_seed(3)  # dropout
        results.append(contrast(item, tiny.batch(seed=2)))
        assert torch.equal(own(item).bank.labels, own(model).bank.labels)
    assert torch.equal(*results)
    without = rccr(seed=9)
    without.load_state_dict({key: value for key, value in state.items() if '.bank.' not in key}, strict=False)
    torch.manual_seed(3)
    assert not torch.equal(contrast(without, tiny.batch(seed=2)), results[0])


def test_a_batch_of_another_size_empties_the_bank():
    model = rccr(masks={})
    for count in (2, 2, 3):
        step(model, tiny.batch(count=count))
    labels = own(model).bank.labels
    assert labels.shape == (3, 768)
    assert (labels[0] != EMPTY).all()
    assert (labels[1:] == EMPTY).all()


# ------------------------------------------------------------------ switches, cost, mistakes


@pytest.mark.parametrize('kind', ['DACS', 'RCCR'])
def test_without_the_contrast_it_is_dacs(kind):
    off = dict(objectives=dict(contrast=None)) if kind == 'RCCR' else {}
    model = tiny.method(kind, tiny.per_pixel(), **off)
    inputs = inputs_of(model.student.backbone)
    _, logged = tiny.losses_of(model, tiny.batch())
    assert len(inputs) == 2
    assert set(logged) == {'loss', 'source.decode.loss_ce', 'source.decode.acc_seg', 'mixed.loss_ce', 'pseudo/q',
                           'pseudo/confidence'}


@pytest.mark.parametrize(('off', 'grows'), [
    (dict(negative_ratio=1.0), True), (dict(filter_class=False), True), (dict(bank=0), False)])
def test_each_switch_changes_the_negatives(off, grows):
    """More negatives raise the loss, fewer lower it."""
    losses = []
    for options in ({}, off):
        model = rccr(weight=1.0, **options)
        step(model)
        losses.append(contrast(model).item())
    assert (losses[1] > losses[0]) == grows


def test_positives_are_chosen_by_confidence():
    shares = []
    for confidence in (None, 0.25, 0.3, 0.99):
        model = rccr(tiny.per_pixel(), confidence=confidence, features=0)
        shares.append(step(model)['contrast/anchors'].item())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2] > shares[3] == 0


@pytest.mark.parametrize('confidence', [None, 0.0])
def test_padding_has_no_anchors(confidence):
    """The target is 16 x 24 in a crop of 32 x 32, which the square covers."""
    data = tiny.batch()
    data['target'].update(inputs=[image[:, :16, :24] for image in data['target']['inputs']],
                          data_samples=[tiny.unlabelled((16, 24)) for _ in range(2)])
    model = rccr(tiny.per_pixel(), masks=dict(square=dict(area=(1.0, 1.0))), confidence=confidence)
    assert step(model, data)['contrast/anchors'] == 16 * 24 / 32**2


def test_begin():
    """Before it, no third pass, no loss, and an empty bank."""
    model = rccr(begin=5)
    inputs = inputs_of(model.student.backbone)
    for iteration, count in ((4, 2), (5, 3)):
        inputs.clear()
        model.set_progress(iteration, 100)
        losses = step(model)
        assert len(inputs) == count
        assert ('contrast.loss_contrast' in losses) == (iteration == 5)
        assert (own(model).bank.labels.numel() > 0) == (iteration == 5)


@pytest.mark.parametrize(('name', 'stride'), [('FCN with an auxiliary head', 8), ('SegFormer', 32)])
def test_squares_follow_the_features(name, stride):
    """Whole cells of the map that is contrasted, whatever the logits' stride is."""
    model = rccr(SEGMENTORS[name], masks={})
    masks = []
    model.masks['square'].register_forward_hook(lambda mask, arguments, out: masks.append(out))
    for iteration in range(8):
        model.set_progress(iteration, 100)
        step(model)
    masks = torch.cat(masks)[:, 0].float()
    cells = torch.nn.functional.avg_pool2d(masks[:, None], stride)
    assert ((cells == 0) | (cells == 1)).all()


def test_squares_per_batch():
    masks = {}
    for per in ('image', 'batch'):
        model = rccr(tiny.per_pixel(), masks=dict(square=dict(per=per)))
        model.masks['square'].register_forward_hook(lambda mask, arguments, out, per=per: masks.update({per: out}))
        step(model, tiny.batch(count=4))
        assert masks[per].shape == (4, 1, 32, 32)
    assert (masks['batch'] == masks['batch'][:1]).all()
    assert not (masks['image'] == masks['image'][:1]).all()


@pytest.mark.parametrize(('options', 'message'), [
    (dict(pool='all'), "objective 'contrast'.*pool='all' must be one of image, batch"),
    (dict(normalise='sum'), "normalise='sum' must be one of positives, overlap"),
    (dict(bank=-1), 'bank=-1 at 0 or above'),
    (dict(temperature=0), 'temperature=0'),
    (dict(features=4), r'features=4: the backbone \(or neck\) gives 1 maps, 0 to 0'),
    (dict(view='mixed'), "view 'mixed' must paste the target"),
    (dict(view='target'), "view 'target' must paste the target"),
], ids=str)
def test_mistakes_are_found_when_it_is_built(options, message):
    rejects(message, kind='RCCR', objectives=dict(contrast=options))


def test_wrong_per_of_a_square():
    rejects("mask 'square'.*per='all' must be 'image' or 'batch'", kind='RCCR', masks=dict(square=dict(per='all')))
