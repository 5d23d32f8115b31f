"""MIC: its blocks, its masked view, its loss, and the margins of images."""

import pytest
import torch
from torch.nn import functional as F

from mmseg_camix.models.mic import BlockMask
from mmseg_camix.models.step import View
from mmseg_camix.models.uda.methods import CAMix

from . import camix_tiny, tiny
from .test_views import make_step

PARTS = dict(
    masks=dict(blocks=dict(type='BlockMask', block=5)), views=dict(masked=dict(type='Masked')),
    objectives=dict(masked=dict(type='PixelCrossEntropy', view='masked')))
LOUD = dict(jitter_probability=1.0, blur_probability=1.0)


def confident(kind='MIC', **arguments):
    """A method whose two networks differ, with a teacher that is sure of some of the pixels."""
    arguments.setdefault('pseudo_labels', dict(threshold=0.5, ignore_top=2, ignore_bottom=3))
    model = tiny.method(kind, tiny.per_pixel(), **arguments)
    with torch.no_grad():
        model.teacher.model.decode_head.conv_seg.weight.normal_()
    return model


def test_the_view_is_augmented_and_masked_afterwards():
    model = confident(augment=LOUD, masks=dict(blocks=dict(block=5)))
    step = tiny.step_of(model, tiny.padded_batch(model))
    kept, view = step.masks['blocks'].clone(), step.views['masked']
    kept[1, :, 20:] = kept[1, :, :, 24:] = False  # padding
    blank = ~kept.expand_as(view.image)
    assert blank.any(1).any()
    assert (view.image[blank] == 0).all(), 'neither jitter nor blur fill a block'
    assert (view.image != step.images['target'])[~blank].float().mean() > 0.5, 'what is kept is augmented'
    assert view.targets is step.views['target'].targets, 'labels and weights are those of the whole image'
    assert (step.images['target'][blank] != 0).any(), 'the branch itself stays'


def test_each_view_has_its_own_augmentation():
    """A second view on the same image would be equal if it took the same draw."""
    model = confident(augment=LOUD, masks=dict(blocks=dict(ratio=0.0)), views=dict(mixed=dict(type='Augmented')))
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    assert not torch.allclose(step.views['mixed'].image, step.views['masked'].image, atol=0.01)


def test_the_rest_of_the_step_is_that_of_dacs():
    """The masked view draws last, so that MIC and DACS compare on the same mixed images."""
    steps = []
    for kind in ('MIC', 'DACS'):
        model = tiny.method(kind, tiny.per_pixel(), augment=LOUD)
        steps.append(tiny.step_of(model, model.data_preprocessor(tiny.batch(), True)))
    assert torch.equal(steps[0].views['mixed'].image, steps[1].views['mixed'].image)


@pytest.mark.parametrize('augment', [True, False])
def test_the_view_without_augmentation(augment):
    model = confident(augment=LOUD, views=dict(masked=dict(augment=augment)))
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    plain = torch.where(step.masks['blocks'], step.images['target'], 0)
    assert torch.equal(step.views['masked'].image, plain) != augment


def test_the_loss_by_hand():
    """Cross-entropy with the label of the whole image x q; 0 on ignored rows and padding; mean over all pixels."""
    model = confident(augment=tiny.NO_AUGMENTATION)
    data = tiny.padded_batch(model)
    image = data['inputs']['target']
    student, teacher = (network.decode_head.conv_seg for network in (model.student, model.teacher.model))
    losses, kept = model.loss(**data), tiny.step_of(model, data).masks['blocks']
    with torch.no_grad():
        confidence, label = teacher(image).softmax(1).max(1)
        valid = torch.ones_like(label, dtype=torch.bool)
        valid[1, 20:] = valid[1, :, 24:] = False
        q = (confidence >= 0.5)[valid].float().mean()
        masked = torch.where(kept & valid[:, None], image, 0)
        entropy = F.cross_entropy(student(masked), label, reduction='none') * valid
    assert 0 < q < 1
    torch.testing.assert_close(losses['masked.loss_ce'].detach(), q * entropy[:, 2:-3].sum() / entropy.numel())


def test_three_lines_add_it_to_another_method():
    model = tiny.method('CAMix', tiny.small(), **PARTS)
    assert isinstance(model, CAMix)
    assert model.masks['blocks'].ratio == 0.7
    total, logged = tiny.losses_of(model, tiny.batch())
    total.backward()
    assert {'mixed.loss_src', 'masked.loss_ce'} <= logged.keys()


@pytest.mark.parametrize(('crop', 'cells'), [((32, 32), (16, 16)), ((64, 32), (32, 16)), ((7, 7), (7, 7))])
def test_default_blocks_are_a_sixteenth_of_the_crop(crop, cells):
    kept = BlockMask(ratio=0.5)(make_step(target=View(torch.zeros(2, 3, *crop), ())))
    height, width = (side // count for side, count in zip(crop, cells))
    blocks = kept.unfold(2, height, height).unfold(3, width, width).flatten(4).float().mean(4)
    assert blocks.shape[2:] == cells
    assert ((blocks == 0) | (blocks == 1)).all()
    assert 0 < blocks.mean() < 1


@pytest.mark.parametrize(('kind', 'changes', 'match'), [
    ('MIC', dict(masks=dict(blocks=dict(ratio=1.0))), r"mask 'blocks' \(BlockMask\): ratio=1.0 must lie in \[0, 1\)"),
    ('MIC', dict(masks=dict(blocks=dict(ratio=-0.1))), r'ratio=-0.1 must lie in \[0, 1\)'),
    ('MIC', dict(masks=dict(blocks=dict(block=0))), "mask 'blocks'.*block=0 must be at least 1"),
    ('MIC', dict(masks=dict(blocks=dict(block=33))), "mask 'blocks'.*block=33 must be at most 32, the shorter side"),
    ('MIC', dict(masks=dict(blocks=dict(of='source'))),
     r"view 'masked'.*mask 'blocks' is of 'source', but the view shows 'target'. Available: \(none\)"),
    ('MIC', dict(views=dict(masked=dict(mask='classes'))), "'classes' is of 'source', .*'target'. Available: blocks"),
    ('MIC', dict(views=dict(masked=dict(mask='block'))), "reads mask 'block'.*Did you mean 'blocks'"),
    ('DACS', dict(pseudo_labels=dict(margins=dict(topp=0.1))), "margins: 'topp' .*Did you mean 'top'.*bottom, left"),
    ('DACS', dict(pseudo_labels=dict(margins=dict(top=30))), r'margins: top=30 must lie in \[0, 1\); it is a share'),
    ('DACS', dict(pseudo_labels=dict(margins=dict(left=0.5, right=0.5))), 'left and right leave nothing'),
])
def test_bad_input_is_refused_when_the_model_is_built(kind, changes, match):
    tiny.rejects(match, kind=kind, **changes)


def test_a_masked_view_of_a_view_takes_masks_of_its_branches():
    model = tiny.method('MIC', tiny.per_pixel(), views=dict(masked=dict(of='mixed', mask='classes', augment=False)))
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    expected = step.views['mixed'].image.masked_fill(~step.masks['classes'], 0)
    assert torch.equal(step.views['masked'].image, expected)


def test_margins_are_those_of_the_image():
    """An image of 24 x 48 whose outer pixels have no weight: 2 on top, 6 below, 3 left, 5 right; crops of 16 x 16."""
    margins = dict(top=2 / 24, bottom=6 / 24, left=3 / 48, right=5 / 48)
    model = camix_tiny.camix(kind='DACS', pseudo_labels=dict(margins=margins, weighted=False))
    weight = tiny.step_of(model, camix_tiny.data_of(model)).views['target'].target.weight
    whole = torch.zeros(24, 48)
    whole[2:18, 3:43] = 1
    for crop, (left, top, right, bottom), flip in zip(weight, camix_tiny.BOXES, camix_tiny.FLIPS):
        expected = whole[top:bottom, left:right]
        assert torch.equal(crop, expected.flip(1) if flip else expected)
    assert 0 < weight[1].mean() < 1


def test_margins_need_the_place_of_the_crop():
    model = tiny.method('DACS', tiny.per_pixel(), pseudo_labels=dict(margins=dict(top=0.1)))
    with pytest.raises(KeyError, match='pseudo_labels.margins needs the position of the crop; use RecordedRandomCrop'):
        tiny.losses_of(model, tiny.batch())
