"""The spatial prior's probabilities, and its crop against slicing and a loop over pixels."""
import math

import pytest
import torch

from mmseg_camix.ops.prior import crop_prior, prior_from_counts
from tests.devices import on_devices
from tests.sync_counter import no_sync


@pytest.mark.parametrize('sigma', [0., .4, 2.])
@pytest.mark.parametrize('epsilon', [0., 1e-6, .1])
def test_every_location_is_a_distribution(sigma, epsilon):
    counts = torch.randint(0, 50, (4, 9, 12), generator=torch.Generator().manual_seed(0))
    counts[:, 2, 3] = 0
    prior = prior_from_counts(counts, sigma, epsilon)
    assert prior.dtype == torch.float32
    assert prior.min() >= 0
    assert torch.allclose(prior.sum(0), torch.ones(9, 12), atol=1e-6)


def test_counts_become_shares_and_an_empty_cell_is_uniform():
    counts = torch.tensor([[3, 0, 0], [1, 5, 0]]).view(2, 1, 3)
    prior = prior_from_counts(counts, epsilon=0.)
    assert prior[:, 0].flatten().tolist() == pytest.approx([.75, 0, .5, .25, 1, .5])
    raised = prior_from_counts(counts, epsilon=.1)
    assert raised[:, 0, 0].tolist() == pytest.approx([.85 / 1.2, .35 / 1.2])
    assert (raised > 0).all()


@pytest.mark.parametrize('sigma', [.7, 3.])
def test_blur_by_loops_repeats_the_border(sigma):
    counts = torch.randint(0, 50, (2, 4, 5), generator=torch.Generator().manual_seed(3)).double()
    reach = range(-round(3 * sigma), round(3 * sigma) + 1)
    prior = prior_from_counts(counts, sigma, epsilon=0.)
    for y in range(4):
        for x in range(5):
            smooth = sum(math.exp(-(dy * dy + dx * dx) / (2 * sigma**2))
                         * counts[:, min(max(y + dy, 0), 3), min(max(x + dx, 0), 4)] for dy in reach for dx in reach)
            assert prior[:, y, x].tolist() == pytest.approx((smooth / smooth.sum()).tolist(), rel=1e-5)


@pytest.mark.parametrize('arguments', [dict(sigma=-1.), dict(epsilon=-1e-3)])
def test_negative_options_are_refused(arguments):
    with pytest.raises(ValueError, match='cannot be negative'):
        prior_from_counts(torch.ones(2, 3, 3), **arguments)


@pytest.mark.parametrize(('height', 'width'), [(72, 128), (135, 240), (38, 71)])
def test_crop_equals_slicing_exactly(height, width):
    prior = torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))
    corners = [(0, 0), (7, 3), (width - 32, height - 24)]
    boxes = torch.tensor([[x / width, y / height, (x + 32) / width, (y + 24) / height] for x, y in corners])
    for flips in (torch.tensor([False, False, True]), torch.tensor([True, True, False])):
        crops = crop_prior(prior, boxes, flips, (24, 32))
        for crop, (x, y), flip in zip(crops, corners, flips):
            expected = prior[:, y:y + 24, x:x + 32]
            assert torch.equal(crop, expected.flip(-1) if flip else expected)


def test_rounding_of_the_boxes_never_shows():
    prior = torch.rand(1, 173, 1279)
    corners = torch.arange(0, 1200, 7)
    boxes = torch.stack([corners / 1279, torch.full_like(corners, 5) / 173, (corners + 64) / 1279,
                         torch.full_like(corners, 21) / 173], 1)
    crops = crop_prior(prior, boxes, corners % 2 == 1, (16, 64))
    for crop, x in zip(crops, corners.tolist()):
        expected = prior[:, 5:21, x:x + 64]
        assert torch.equal(crop, expected.flip(-1) if x % 2 else expected)


@pytest.mark.parametrize('flip', [False, True])
def test_bilinear_crop_by_loops(flip):
    prior = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(2))
    x1, y1, x2, y2 = .21, .1, .93, .77
    out = crop_prior(prior, torch.tensor([[x1, y1, x2, y2]]), torch.tensor([flip]), (8, 5))[0]
    for i in range(8):
        for j in range(5):
            y = min(max((y1 + (y2 - y1) * (i + .5) / 8) * 6 - .5, 0), 5)
            x = min(max((x1 + (x2 - x1) * (j + .5) / 5) * 9 - .5, 0), 8)
            y0, x0 = min(int(y), 4), min(int(x), 7)
            wy, wx = y - y0, x - x0
            above, below = ((1 - wx) * prior[:, row, x0] + wx * prior[:, row, x0 + 1] for row in (y0, y0 + 1))
            expected = (1 - wy) * above + wy * below
            column = 4 - j if flip else j
            assert out[:, i, column].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_crop_of_distributions_is_a_distribution_and_half_precision_is_welcome():
    prior = prior_from_counts(torch.randint(0, 9, (5, 12, 20)), sigma=1.)
    box = torch.tensor([[.1, .2, .6, 1.1]])  # reaches below the image: the border is repeated
    out = crop_prior(prior, box, torch.tensor([False]), (33, 17))
    assert torch.allclose(out.sum(1), torch.ones(1, 33, 17), atol=1e-5)
    half = crop_prior(prior.half(), box, torch.tensor([False]), (33, 17))
    assert half.dtype == torch.float32
    assert torch.allclose(half, out, atol=1e-3)


@pytest.mark.parametrize(('prior', 'boxes', 'flips'), [
    (torch.rand(1, 2, 3, 3), torch.rand(1, 4), torch.zeros(1)),
    (torch.rand(2, 3, 3), torch.rand(4), torch.zeros(4)),
    (torch.rand(2, 3, 3), torch.rand(2, 4), torch.zeros(1)),
])
def test_wrong_shapes_are_refused(prior, boxes, flips):
    with pytest.raises(ValueError, match='crop_prior takes'):
        crop_prior(prior, boxes, flips.bool(), (3, 3))


@on_devices
def test_crop_never_waits_for_the_device(device):
    prior = torch.rand(5, 19, 37, device=device)
    boxes = torch.tensor([[.1, .2, .6, .9], [0., 0., 1., 1.]], device=device)
    flips = torch.tensor([True, False], device=device)
    with no_sync():
        crops = crop_prior(prior, boxes, flips, (19, 37))
    assert crops.device == prior.device
    assert torch.equal(crops[1], prior)
