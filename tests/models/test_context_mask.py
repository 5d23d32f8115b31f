"""CAMix's mask within a model: its prior, its groups, and what it refuses."""

import numpy as np
import pytest
import torch

from mmseg_camix.models.building import TableError
from mmseg_camix.models.context_mask import ContextMask
from mmseg_camix.models.crop_places import crop_place
from mmseg_camix.models.step import View

from . import tiny
from .camix_tiny import BOXES, FLIPS, IMAGE, NAMES, SIZE, camix, counts_of, data_of, save_prior
from .tiny import step_of

# ------------------------------------------------------------------ prior


def cropped(model, data=None):
    step = step_of(model, data or data_of(model))
    return model.masks['context']._cropped_prior(step, torch.zeros(3, len(NAMES), SIZE, SIZE))


def test_the_prior_moves_with_the_crop(prior):
    counts = counts_of().astype(float)
    whole = torch.from_numpy((counts / counts.sum(0) + 1e-4) / (1 + 1e-4 * len(NAMES))).float()
    result = cropped(camix(context=dict(prior=prior)))
    assert torch.allclose(result.sum(1), torch.ones(3, SIZE, SIZE), atol=1e-5)
    for item, (left, top, right, bottom), flip in zip(result, BOXES, FLIPS):
        expected = whole[:, top:bottom, left:right]
        torch.testing.assert_close(item, expected.flip(-1) if flip else expected)


def test_a_prior_of_another_resolution(tmp_path):
    """Counted in cells of 4 x 4 pixels, it shows the same place."""
    slope = np.broadcast_to(np.arange(1, 49), (24, 48))
    counts = np.stack([slope, slope[:, ::-1], *[np.full((24, 48), 9)] * 3])
    coarse = counts.reshape(len(NAMES), 6, 4, 12, 4).sum((2, 4))
    fine, result = (cropped(camix(context=dict(prior=save_prior(tmp_path / f'{c.shape[1]}.npz', counts=c))))
                   for c in (counts, coarse))
    assert (result - fine)[..., 2:-2].abs().max() < 0.01
    assert (result - fine.flip(-1)).abs().max() > 0.1


def test_smoothing_and_epsilon_can_be_changed_without_counting(prior):
    plain, even = (cropped(camix(context=dict(prior=prior, epsilon=e))) for e in (None, 1e6))
    smooth = cropped(camix(context=dict(prior=prior, smooth=8)))
    assert plain.std() > 0.1
    assert smooth.std() < 0.5 * plain.std()
    torch.testing.assert_close(even, torch.full_like(even, 1 / len(NAMES)), atol=1e-4, rtol=0)


@pytest.mark.parametrize('flip', [False, True])
def test_a_padded_crop(flip):
    """An image of 10 x 12 in a crop of 16 x 16 was padded right and below, after the flip."""
    meta = dict(crop_box=(0, 0, 12, 10), resized_shape=(10, 12), img_shape=(10, 12), flip=flip,
                flip_direction='horizontal')
    (left, top, right, bottom), flipped = crop_place(meta, (16, 16), 'the spatial prior')
    assert flipped is flip
    assert (top * 10, bottom * 10) == pytest.approx((0, 16))
    assert (left * 12, right * 12) == pytest.approx((-4, 12) if flip else (0, 16))


def test_the_same_image_and_its_mirror_give_mirrored_masks(prior):
    """Image and prior turn together: nothing changes but the direction."""
    model = camix(context=dict(prior=prior, ratio=0.5))
    straight, mirrored = (data_of(model, boxes=[BOXES[1]] * 3, flips=[flip] * 3) for flip in (False, True))
    mirrored['inputs']['target'] = mirrored['inputs']['target'].flip(-1)
    masks = [step_of(model, data).masks['context'] for data in (straight, mirrored)]
    assert torch.equal(masks[0], masks[1].flip(-1))
    wrong = data_of(model, boxes=[BOXES[1]] * 3, flips=[False] * 3)
    wrong['inputs']['target'] = wrong['inputs']['target'].flip(-1)
    assert not torch.equal(masks[0], step_of(model, wrong).masks['context'].flip(-1))


def test_a_prior_of_other_classes(tmp_path):
    file = save_prior(tmp_path / 'p.npz', names=('road', 'pole', 'traffic light', 'rider', 'cow'))
    with pytest.raises(ValueError, match=r"p\.npz was counted for the classes .*different: \['bicycle', 'cow'\]"):
        camix(context=dict(prior=file))


def test_a_prior_of_another_aspect_is_refused_at_the_first_batch(prior):
    model = camix(context=dict(prior=prior))
    square = data_of(model, image=(48, 48))
    with pytest.raises(ValueError, match=r'prior\.npz was counted at 48x24 \(aspect 2\.000\).*aspect 1\.000'):
        model.loss(square['inputs'], square['data_samples'])
    for image in ((24, 48), (27, 48), (24, 48)):  # small stretches are accepted
        cropped(model, data_of(model, image=image))
    assert model.masks['context']._accepted_shapes == {(24, 48), (27, 48)}


def test_a_missing_prior(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.npz: .* no spatial prior .*build it by: mmseg-camix prior'):
        camix(context=dict(prior=str(tmp_path / 'nowhere.npz')))


def test_inference_needs_no_prior():
    """Only training reads the file."""
    model = tiny.build(dict(type='CAMix', segmentor=tiny.per_pixel(), masks=dict(context=dict(prior='nowhere.npz'))))
    assert model.eval()(torch.zeros(1, 3, 32, 32), mode='tensor').shape == (1, 5, 32, 32)


def test_a_checkpoint_holds_neither_prior_nor_relations(prior):
    model = camix(context=dict(prior=prior))
    step_of(model, data_of(model))
    assert model.masks['context'].prior.shape == (5, *IMAGE)
    assert not [key for key in model.state_dict() if key.startswith(('masks.', 'pseudo_labels.'))]
    fresh = camix()
    fresh.load_state_dict(model.state_dict())


@pytest.mark.parametrize(('meta', 'error', 'message'), [
    (dict(), KeyError, 'needs the position of the crop; use RecordedRandomCrop and PackUDAInputs'),
    (dict(crop_box=(0, 0, 9, 9), resized_shape=(9, 9), flip=True, flip_direction='vertical', img_path='a.png'),
     ValueError, 'a.png: the spatial prior cannot follow a vertical flip')])
def test_samples_whose_place_is_unknown(meta, error, message):
    with pytest.raises(error, match=message):
        crop_place(meta, (9, 9), 'the spatial prior')


def test_pixels_that_the_prior_overrules_can_be_left_out(prior):
    """The drawn classes stay the same; what is left out is where the pasted label would be another class."""
    masks = {}
    for agreeing in (False, True):
        model = camix(context=dict(prior=prior, agreeing=agreeing))
        step = step_of(model, data_of(model, boxes=BOXES, flips=FLIPS))
        masks[agreeing] = model.masks['context'](step)
    probs = step.teacher_logits.softmax(1)
    own = probs.argmax(1)
    overruled = ((probs * model.masks['context']._cropped_prior(step, probs)).argmax(1) != own)[:, None]
    assert (masks[False] & overruled).any()
    assert torch.equal(masks[True], masks[False] & ~overruled)


# ------------------------------------------------------------------ relations


def relations_of(names=NAMES, **context):
    """Pairs (puller, pulled)."""
    mask = ContextMask(**context)
    mask.prepare(dict(classes=names))
    return {(names[i], names[j]) for i, j in np.argwhere(mask.relations.numpy())}


def both_ways(*pairs):
    return {*pairs, *((b, a) for a, b in pairs)}


BIKE, LIGHT = ('rider', 'bicycle'), ('pole', 'traffic light')


@pytest.mark.parametrize(('groups', 'pairs'), [
    (('I', 'II'), both_ways(BIKE, LIGHT)),
    (['I'], both_ways(LIGHT)),
    (['I', 'II-one-way'], both_ways(LIGHT) | {BIKE}),
    ([('road', 'pole'), {'rider': ['road']}], both_ways(('road', 'pole')) | {('rider', 'road')}),
    (['V'], set())])
def test_groups(groups, pairs):
    assert relations_of(groups=groups) == pairs


def test_groups_without_a_pair_are_logged(monkeypatch):
    """The default names Cityscapes' classes: on others they would silently add no context."""
    messages = []
    monkeypatch.setattr('mmseg_camix.models.context_mask.print_log', lambda text, *others: messages.append(text))
    assert relations_of()
    assert not messages
    assert not relations_of(('sky', 'tree', 'house'))
    assert "groups=['I', 'II'] name no two of the classes sky, tree, house: no class adds another" in messages[0]


def test_groups_through_a_config():
    """As a config gives them: dicts of mmengine, and names given on the command line."""
    model = camix(context=dict(groups=['I', dict(rider=['bicycle'])]))
    relations = model.masks['context'].relations
    assert {(NAMES[i], NAMES[j]) for i, j in relations.nonzero().tolist()} == both_ways(LIGHT) | {BIKE}
    assert camix(context=dict(groups=None)).masks['context'].relations is None


def test_groups_from_the_labels(tmp_path):
    """Bicycles under riders, far beyond chance; everything else at random."""
    rng = np.random.RandomState(0)
    labels = torch.zeros(30, 48, 96, dtype=torch.long)
    for label in labels:
        for classes in ([1], [2], [3, 4]):
            y, x = rng.randint(0, 40), rng.randint(0, 90)
            for i, c in enumerate(classes):
                label[y + 4 * i:y + 4 * (i + 1), x:x + 4] = c
    file = save_prior(tmp_path / 'p.npz', labels=labels)
    result = relations_of(prior=file, groups='auto')
    assert result == both_ways(BIKE)
    relatives = camix(context=dict(prior=file, groups='auto'))
    assert bool(relatives.masks['context'].relations.any())


def test_relatives_come_along():
    """One class drawn of five, whose relatives are present: the mask holds the whole group, one way or both."""
    label = torch.tensor([1, 2, 3, 4]).view(1, 1, 4).repeat(3, 4, 1)  # every class of both groups in a column
    logits = 9.0 * torch.nn.functional.one_hot(label, 5).permute(0, 3, 1, 2).float()
    recorded = {}
    for name, groups in dict(both=['I', 'II'], single=['I', 'II-one-way']).items():
        model = camix(context=dict(groups=groups, ratio=0.25))
        data = data_of(model)
        recorded[name] = set()
        for iteration in range(30):
            model.set_progress(iteration, 100)
            step = model.begin_step(data['inputs'], data['data_samples'])
            step.teacher_logits = logits
            step.views['target'] = View(torch.zeros(3, 3, 4, 4), ())
            recorded[name].update(tuple(mask.tolist()) for mask in model.masks['context'](step)[:, 0, 0])
    pole_light, rider_bike, bike = (True, True, False, False), (False, False, True, True), (False, False, False, True)
    assert recorded['both'] == {pole_light, rider_bike}
    assert recorded['single'] == {pole_light, rider_bike, bike}


@pytest.mark.parametrize(('context', 'message'), [
    (dict(groups='I'), r"groups='I' must be a list such as \['I', 'II'\], or 'auto', or None"),
    (dict(groups='auto'), 'reads the relations from the file of the prior; give prior=FILE'),
    (dict(of='source'), "of='source' must be 'target'"),
    (dict(ratio=50), r'ratio=50 must lie in \[0, 1\]'),
    (dict(below=0), r'below=0 must lie in \(0, 1\]'),
    (dict(draw='prior'), "draw='prior' must be one of modulated, own")])
def test_bad_arguments(context, message):
    with pytest.raises(TableError, match=message):
        camix(context=context)


def test_labels_of_the_modulated_prediction(prior):
    """Relabelled, every pasted pixel has the class as which it was selected; nothing else changes."""
    views = dict(relabelled=dict(type='Relabelled'), camix=dict(donor='relabelled'))
    published, relabelled = (camix(context=dict(prior=prior), **options) for options in ({}, dict(views=views)))
    steps = [step_of(model, data_of(model)) for model in (published, relabelled)]
    first, second = (step.views['mixed'].target for step in steps)
    mask, selected = steps[0].masks['context'][:, 0], steps[0].context_label
    assert torch.equal(mask, steps[1].masks['context'][:, 0])
    assert torch.equal(second.label[mask], selected[mask])
    assert (first.label[mask] != selected[mask]).any(), 'the prior overrules some'
    assert torch.equal(first.label[~mask], second.label[~mask])
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.significance, second.significance)
    with pytest.raises(TableError, match="Relabelled: mask='classes' must name a ContextMask"):
        camix(views=dict(views, relabelled=dict(type='Relabelled', mask='classes')))


def test_a_model_that_was_not_prepared():
    model = tiny.build(dict(type='CAMix', segmentor=tiny.per_pixel((SIZE, SIZE))))
    model.set_progress(0, 10)
    data = data_of(model)
    with pytest.raises(RuntimeError, match=r'has no class names yet; UDAHook sets them .* `model.prepare'):
        model.loss(data['inputs'], data['data_samples'])
    with pytest.raises(ValueError, match="the training data set has no metainfo\\['classes'\\]"):
        model.prepare({})
