"""RCCR: what its switches do, its squares, what a step costs, and mistakes in its arguments."""

import pytest
import torch

from mmseg_camix.models.building import TableError

from . import tiny
from .rccr_tiny import contrast, own, passes, rccr, step

SEGMENTORS = tiny.segmentors()


@pytest.mark.parametrize('kind', ['DACS', 'RCCR'])
def test_without_the_contrast_it_is_dacs(kind):
    off = dict(objectives=dict(contrast=None)) if kind == 'RCCR' else {}
    model = tiny.method(kind, tiny.per_pixel(), **off)
    seen = passes(model.student.backbone)
    _, logged = tiny.losses_of(model, tiny.batch())
    assert len(seen) == 2
    assert set(logged) == {'loss', 'source.decode.loss_ce', 'source.decode.acc_seg', 'mixed.loss_ce', 'pseudo/q',
                           'pseudo/confidence'}


def test_dacs_part_is_the_same():
    """The same loss on source and mixed images as in DACS; the square takes no number from ClassMix."""
    logged = [tiny.losses_of(tiny.method(kind, tiny.per_pixel()), tiny.batch())[1] for kind in ('DACS', 'RCCR')]
    assert logged[0]['source.decode.loss_ce'] == logged[1]['source.decode.loss_ce']


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


def test_begin():
    """Before it, no third pass, no loss, and an empty bank."""
    model = rccr(begin=5)
    seen = passes(model.student.backbone)
    for iteration, count in ((4, 2), (5, 3)):
        seen.clear()
        model.set_progress(iteration, 100)
        losses = step(model)
        assert len(seen) == count
        assert ('contrast.loss_contrast' in losses) == (iteration == 5)
        assert (own(model).bank.labels.numel() > 0) == (iteration == 5)


@pytest.mark.parametrize(('name', 'stride'), [('FCN with an auxiliary head', 8), ('SegFormer', 32)])
def test_squares_follow_the_features(name, stride):
    """Whole cells of the map that is contrasted, whatever the logits' stride is."""
    model = rccr(SEGMENTORS[name], masks={})
    masks = []
    model.masks['square'].register_forward_hook(lambda mask, inputs, out: masks.append(out))
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
        model.masks['square'].register_forward_hook(lambda mask, inputs, out, per=per: masks.update({per: out}))
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
    with pytest.raises(TableError, match=message):
        rccr(**options)


def test_per_of_a_square():
    with pytest.raises(TableError, match="mask 'square'.*per='all' must be 'image' or 'batch'"):
        rccr(masks=dict(square=dict(per='all')))
