"""Scores of small networks against what their definitions give for the whole set at once."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from mmseg_camix.ops import unlabelled as U
from mmseg_camix.selection import RECOMMENDED, SCORES, Scorer
from mmseg_camix.selection.probes import GRID, colour_augmentation, grid, logits_of
from mmseg_camix.selection.state import Samples, State
from tests.models import tiny

IMAGES = torch.randn(5, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def network(seed=0, segmentor=None):
    """Its predictions vary within an image."""
    model = tiny.build(segmentor or tiny.small(), seed).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    return model


def scored(images=IMAGES, batch=2, **arguments):
    scorer = Scorer(arguments.pop('network', None) or network(), **arguments)
    for part in images.split(batch):
        scorer.update(part)
    return scorer.results()


@torch.no_grad()
def labels(model, images):
    return logits_of(model, images).argmax(1)


def iou(first, second):
    return float(U.mean_iou(U.confusion(first, second, tiny.CLASSES)))


def test_all_scores_of_two_networks():
    values = scored(other=network(1))
    assert set(values) == set(SCORES)
    assert RECOMMENDED in values
    assert all(math.isfinite(value) for value in values.values())
    assert len(set(values.values())) == len(values)


@pytest.mark.parametrize('batch', [1, 3, 5])
def test_batches_do_not_matter(batch):
    assert scored(batch=batch, other=network(1)) == pytest.approx(scored(other=network(1)), abs=1e-5)


def test_scores_of_the_predictions():
    with torch.no_grad():
        probs = logits_of(network(), IMAGES).softmax(1).permute(0, 2, 3, 1).flatten(0, 2)
    mean_entropy, of_mean = float(U.relative_entropy(probs).mean()), float(U.relative_entropy(probs.mean(0)))
    values = scored()
    assert values['entropy'] == pytest.approx(-mean_entropy, abs=1e-5)
    assert values['diversity'] == pytest.approx(of_mean, abs=1e-5)
    assert values['infomax'] == pytest.approx(of_mean - mean_entropy, abs=1e-5)
    assert values['dispersity'] == pytest.approx(
        float(torch.linalg.svdvals(probs).sum()) / math.sqrt(tiny.CLASSES * len(probs)), rel=1e-4)


def test_flip_and_zoom():
    model = network()
    own, values = labels(model, IMAGES), scored()
    assert values['flip'] == pytest.approx(iou(own, labels(model, IMAGES.flip(3)).flip(2)))
    part = IMAGES[:, :, 3:29, 4:36]  # 26x32 of 32x40
    with torch.no_grad():
        enlarged = logits_of(model, interpolate(part, (32, 40), mode='bilinear'))
        enlarged_labels = interpolate(enlarged, (26, 32), mode='bilinear').argmax(1)
    assert values['zoom'] == pytest.approx(iou(own[:, 3:29, 4:36], enlarged_labels))
    assert values['consistency'] == pytest.approx((values['flip'] + values['colour'] + values['zoom']) / 3)


def test_colour_depends_on_the_seed_and_the_place_of_the_image():
    model = network()
    augment = colour_augmentation(model)
    changed = torch.cat([augment(image[None], torch.Generator().manual_seed(7 + number))
                         for number, image in enumerate(IMAGES)])
    assert scored(scores='colour', seed=7)['colour'] == pytest.approx(iou(labels(model, IMAGES),
                                                                          labels(model, changed)))
    assert scored(scores='colour', seed=7) != scored(scores='colour', seed=8)


def test_mixed_images():
    """Pixels of 0.55 of an image and 0.45 of its predecessor, by whether both have one label."""
    model = network()
    own = labels(model, IMAGES)
    hits = labels(model, 0.55 * IMAGES[1:] + 0.45 * IMAGES[:-1]) == own[1:]
    equal = own[1:] == own[:-1]
    expected = (hits[equal].double().mean() + hits[~equal].double().mean()) / 2
    assert scored(scores=['mixed'])['mixed'] == pytest.approx(float(expected))


def test_mixed_images_need_pairs_of_one_size():
    assert math.isnan(scored(IMAGES[:1], scores=['mixed'])['mixed'])
    scorer = Scorer(network(), scores=['mixed'])
    for images in (IMAGES[:2], IMAGES[2:, :, :, :32]):  # the second batch has another width
        scorer.update(images)
    assert int(scorer.state.sums['equal'][1] + scorer.state.sums['unequal'][1]) == 32 * 40 + 2 * 32 * 32


def test_agreement_is_that_with_the_other_network():
    model, other = network(), network(1)
    assert scored(scores=['agreement'], other=other)['agreement'] == pytest.approx(
        iou(labels(model, IMAGES), labels(other, IMAGES)))


def test_scores_that_the_network_cannot_have_are_left_out_or_refused():
    assert set(SCORES) - set(scored()) == {'agreement'}
    with pytest.raises(ValueError, match='needs two networks'):
        scored(scores=['agreement'])
    knet = tiny.build(tiny.segmentors()['K-Net']).eval()
    del knet.decode_head.kernel_generate_head.conv_seg
    with pytest.raises(ValueError, match='which IterativeDecodeHead does not'):
        Scorer(knet, scores=['transfer'])
    with pytest.raises(ValueError, match=r"unknown score 'entorpy'; available: entropy, "):
        scored(scores=['entorpy'])
    sigmoid = tiny.build(tiny.per_pixel(num_classes=2, out_channels=1, threshold=0.5, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True)))
    with pytest.raises(ValueError, match='out_channels=2 instead of a sigmoid'):
        Scorer(sigmoid)
    with pytest.raises(ValueError, match='no image'):
        Scorer(network()).results()


@pytest.mark.parametrize('kind', tiny.segmentors())
def test_every_kind_of_head(kind):
    model = tiny.build(tiny.segmentors()[kind]).eval()
    scorer = Scorer(model, scores=['transfer', 'consistency'])
    scorer.update(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert all(math.isfinite(value) for value in scorer.results().values())


def test_grid_bounds_the_number_of_pixels():
    values = torch.arange(2 * 600 * 700.0).view(2, 1, 600, 700)
    picked = grid(values)
    assert len(picked) <= 2 * GRID * 1.3
    assert torch.equal(picked[:, 0], values[:, 0, ::5, ::5].flatten())
    assert torch.equal(grid(values[:, 0]), picked[:, 0])


@pytest.mark.parametrize('sizes', [[1] * 50, [7] * 7 + [1], [50]])
def test_samples_are_bounded_and_spread(sizes):
    samples, rows = Samples(8), torch.arange(50.0).view(50, 1)
    for part in rows.split(sizes):
        samples.add(part)
    assert samples.tensor().flatten().tolist() == [0, 8, 16, 24, 32, 40, 48]


def test_states_of_processes_add_up():
    states = []
    for images in (IMAGES[:2], IMAGES[2:]):
        scorer = Scorer(network(), scores=['infomax', 'flip', 'density'])
        scorer.update(images)
        states.append(scorer.state)
    states[0].merge(states[1])
    scorer.state = states[0]
    assert scorer.results() == pytest.approx(scored(scores=['infomax', 'flip', 'density']), abs=1e-6)


def test_integers_are_added_exactly():
    state = State(1)
    for _ in range(3):
        state.add('pixels', torch.tensor(2**60 + 1))
    assert int(state.sums['pixels']) == 3 * (2**60 + 1)
