"""Views, masks and objectives one by one: soft paste, shuffling, normalisers."""

import pytest
import torch

from mmseg_camix.models.adapter import Output
from mmseg_camix.models.masks import BoxMask, ClassMask, CowMask
from mmseg_camix.models.objectives import PixelCrossEntropy, SupervisedLoss
from mmseg_camix.models.step import Progress, Step, StudentPass, Target, View
from mmseg_camix.models.views import Augmented, Paste, Shuffled, Switch

from . import tiny

SHAPE = (2, 16, 24)


def make_step(**views):
    step = Step(Progress(0, 10), 5, 255, False, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    step.views.update(views)
    return step


def make_view(seed, weight=1.0, probs=False, scale=None, significance=False):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(5, SHAPE, generator=generator)
    target = Target(label, torch.rand(SHAPE, generator=generator) * weight,
                    torch.rand(2, 5, *SHAPE[1:], generator=generator).softmax(1) if probs else None,
                    (torch.rand(SHAPE, generator=generator) > 0.5).float() if significance else None)
    return View(torch.rand(2, 3, *SHAPE[1:], generator=generator), (target,), scale)


def pasted(donor, over, **arguments):
    step = make_step(a=donor, b=over)
    region = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) > 0.5
    step.masks['m'] = region[:, None]
    return Paste('a', 'b', 'm', **arguments)(step), region


def test_hard_paste_moves_all_that_belongs_to_a_pixel():
    donor, over = make_view(1, probs=True, significance=True), make_view(2, probs=True)
    view, region = pasted(donor, over)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(16), torch.arange(24)).tolist():
        origin = donor if region[b, y, x] else over
        assert torch.equal(view.image[b, :, y, x], origin.image[b, :, y, x])
        assert view.target.label[b, y, x] == origin.target.label[b, y, x]
        assert view.target.weight[b, y, x] == origin.target.weight[b, y, x]
        assert torch.equal(view.target.probs[b, :, y, x], origin.target.probs[b, :, y, x])
        expected = 1 if origin is over else donor.target.significance[b, y, x]  # without: all significant
        assert view.target.significance[b, y, x] == expected


def test_soft_paste_has_both_labels():
    donor, over = make_view(1), make_view(2)
    view, region = pasted(donor, over, opacity=0.75)
    share = region.float() * 0.75
    expected = share[:, None] * donor.image + (1 - share[:, None]) * over.image
    torch.testing.assert_close(view.image, expected)
    mine, theirs = view.targets
    assert torch.equal(mine.label, donor.target.label)
    assert torch.equal(theirs.label, over.target.label)
    torch.testing.assert_close(mine.weight, donor.target.weight * share)
    torch.testing.assert_close(theirs.weight, over.target.weight * (1 - share))
    with pytest.raises(ValueError, match='2 weighted targets'):
        _ = view.target


def test_a_soft_paste_over_a_soft_paste():
    """Weights multiply, so that each pixel keeps its total weight."""
    ones = [View(v.image, (Target(v.target.label, torch.ones(SHAPE)),)) for v in (make_view(1), make_view(2))]
    first, _ = pasted(*ones, opacity=0.6)
    second, _ = pasted(ones[0], first, opacity=1.0)
    assert len(second.targets) == 3
    torch.testing.assert_close(sum(t.weight for t in second.targets), torch.ones(SHAPE))


def test_scale_of_a_paste_is_the_smaller_one():
    low, high = torch.tensor([0.2, 0.9])[:, None, None], torch.tensor([0.4, 0.5])[:, None, None]
    assert pasted(make_view(1, scale=low), make_view(2))[0].scale is low
    assert pasted(make_view(1), make_view(2, scale=high))[0].scale is high
    view, _ = pasted(make_view(1, scale=low), make_view(2, scale=high))
    torch.testing.assert_close(view.scale.flatten(), torch.tensor([0.2, 0.5]))


def test_shuffled_moves_images_and_targets_together():
    view = make_view(1, probs=True, scale=torch.rand(2, 1, 1), significance=True)
    moved = Shuffled('a')(make_step(a=view))
    for value, before in ((moved.image, view.image), (moved.scale, view.scale), *(
            (getattr(moved.target, name), getattr(view.target, name))
            for name in ('label', 'weight', 'probs', 'significance'))):
        assert torch.equal(value, before.flip(0))  # of two


def test_shuffled_leaves_no_image_in_its_place():
    view = View(torch.arange(5.)[:, None, None, None].expand(5, 3, 2, 2), ())
    assert sorted(Shuffled('a')(make_step(a=view)).image[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 4]
    assert (Shuffled('a')(make_step(a=view)).image != view.image).all()


def test_augmented_drops_samples():
    """Their labels are the branch's own: a supervised loss on them would miss a change of label."""
    view = View(torch.zeros(2, 3, 4, 4), (), samples=['one', 'two'])
    assert Augmented('a')(make_step(a=view)).samples is None


def test_switch():
    step = make_step(a=make_view(1), b=make_view(2))
    switch = Switch('a', 'b', at=3)
    for iteration, name in ((0, 'a'), (2, 'a'), (3, 'b'), (9, 'b')):
        step.progress = Progress(iteration, 10)
        assert switch(step) is step.views[name]
        assert switch.reads_at(step.progress) == (name,)


# ------------------------------------------------------------------ masks


@pytest.mark.parametrize('mask', [ClassMask('a'), BoxMask('a', area=0.5), CowMask('a')])
def test_masks_cover_some_and_follow_the_generator(mask):
    step = make_step(a=make_view(1))
    regions = []
    for seed in (0, 1, 0):
        step.generator.manual_seed(seed)
        regions.append(mask(step))
    assert regions[0].shape == (2, 1, *SHAPE[1:])
    assert regions[0].dtype == torch.bool
    assert 0.15 < regions[0].float().mean() < 0.85
    assert torch.equal(regions[0], regions[2])
    assert not torch.equal(regions[0], regions[1])
    assert not torch.equal(regions[0][0], regions[0][1])  # each image its own


def test_class_mask_counts_void_only_if_told():
    label = torch.full((1, 4, 4), 255)
    view = View(torch.zeros(1, 3, 4, 4), (Target(label, torch.ones(1, 4, 4)),))
    assert not ClassMask('a')(make_step(a=view)).any()
    assert ClassMask('a', count_ignore=True)(make_step(a=view)).all()


# ------------------------------------------------------------------ objectives


def compared(objective, view, logits):
    step = make_step(v=view)
    step.passes['v'] = StudentPass(None, (Output(logits),))
    return objective(step, None)


@pytest.mark.parametrize(('normalise', 'divisor'), [
    ('pixels', lambda t: t.label.numel()), ('valid', lambda t: (t.label != 255).sum()),
    ('weight', lambda t: t.weight.sum())])
def test_normalisers(normalise, divisor):
    view = make_view(1)
    view.target.label[:, :3] = 255
    logits = torch.randn(2, 5, *SHAPE[1:])
    target = view.target
    log_p = logits.log_softmax(1)
    total = sum(-log_p[b, target.label[b, y, x], y, x] * target.weight[b, y, x]
                for b in range(2) for y in range(16) for x in range(24) if target.label[b, y, x] != 255)
    losses = compared(PixelCrossEntropy('v', normalise=normalise), view, logits)
    torch.testing.assert_close(losses['loss_ce'], total / divisor(target))


def test_supervised_loss_on_a_pasted_view():
    """A view with a hard label may train the segmentor's own losses, auxiliary head included."""
    model = tiny.method('DACS', objectives=dict(mixed=dict(type='SupervisedLoss')))
    _, logged = tiny.losses_of(model, tiny.batch())
    assert {'mixed.decode.loss_ce', 'mixed.aux.loss_ce'} <= set(logged)
    assert SupervisedLoss.needs_logits is False
