import math
from functools import partial

import pytest
import torch

from mmseg_camix.ops.masks import (
    block_mask,
    box_mask,
    choose_half,
    class_mask,
    class_region,
    cow_mask,
    present_classes,
    square_mask,
)
from tests.devices import batches, on_devices, seeded
from tests.sync_counter import no_sync

C = 7
blocks = partial(block_mask, block=8)


def random_label(batch: int, device: str = 'cpu', seed: int = 0) -> torch.Tensor:
    """Few classes per image, a quarter void."""
    g = seeded(seed)
    palette = torch.randint(C, (batch, 4), generator=g)
    palette[:, 3] = 255
    pick = torch.randint(4, (batch, 9 * 13), generator=g)
    return palette.gather(1, pick).view(batch, 9, 13).to(device)


def slow_present(label: torch.Tensor, count_ignore: bool) -> list[set]:
    uncounted = set() if count_ignore else {C}
    return [{C if v == 255 else v for v in image.flatten().tolist()} - uncounted for image in label]


def columns(mask: torch.Tensor) -> list[set]:
    return [set(row.nonzero().flatten().tolist()) for row in mask]


@on_devices
@batches
@pytest.mark.parametrize('count_ignore', [False, True])
def test_present_classes_against_sets(batch, device, count_ignore):
    label = random_label(batch, device, seed=batch)
    present = present_classes(label, C, count_ignore=count_ignore)
    assert present.shape == (batch, C + count_ignore) and present.dtype == torch.bool
    assert columns(present) == slow_present(label, count_ignore)


def test_present_classes_with_another_ignore_index():
    label = torch.tensor([[[0, -1], [2, 2]]])
    assert present_classes(label, 3, ignore_index=-1).tolist() == [[True, False, True]]


@on_devices
@pytest.mark.parametrize('ratio', [0., .3, .5, .6, .7, 1.])
def test_choose_half_takes_ceil_of_the_share(device, ratio):
    # 25 * .6 is a little more than 15 in single precision and must still not give 16.
    present = torch.arange(25, device=device) < torch.arange(26, device=device)[:, None]
    chosen = choose_half(present, seeded(0, device), ratio)
    assert not (chosen & ~present).any()
    # In tenths, so that the reference has no rounding of its own.
    assert chosen.sum(1).tolist() == [-(-n * round(ratio * 10) // 10) for n in range(26)]


def test_choose_half_is_fair():
    present = torch.zeros(20000, 9, dtype=torch.bool)
    present[:, [0, 3, 4, 7, 8]] = True
    share = choose_half(present, seeded(0)).float().mean(0)
    # 3 of 5; the standard deviation of each share is .0035.
    assert torch.allclose(share, present[0] * .6, atol=.015)


def test_rows_draw_on_their_own():
    chosen = choose_half(torch.ones(64, 8, dtype=torch.bool), seeded(0))
    assert len({tuple(row) for row in chosen.tolist()}) > 30


@on_devices
@batches
def test_class_region_against_loops(batch, device):
    label = random_label(batch, device, seed=batch)
    for count_ignore in (False, True):
        chosen = torch.rand(batch, C + count_ignore, generator=seeded(1)).to(device) < .5
        mask = class_region(label, chosen, count_ignore=count_ignore)
        assert mask.shape == (batch, 1, *label.shape[1:]) and mask.dtype == torch.bool
        for b in range(batch):
            wanted = columns(chosen)[b]
            expected = [[(C if v == 255 else v) in wanted for v in row] for row in label[b].tolist()]
            assert mask[b, 0].tolist() == expected


@on_devices
@batches
def test_class_mask_is_a_union_of_half_the_classes(batch, device):
    label = random_label(batch, device, seed=10 + batch)
    mask = class_mask(label, C, seeded(3, device))
    for b, classes in enumerate(slow_present(label, False)):
        inside = set(label[b][mask[b, 0]].tolist())
        outside = set(label[b][~mask[b, 0]].tolist()) - {255}
        assert len(inside) == math.ceil(len(classes) / 2)
        assert inside | outside == classes and not inside & outside


@on_devices
def test_one_class_and_only_void(device):
    first = torch.full((2, 4, 4), 5, device=device)
    assert class_mask(first, C, seeded(0, device)).all()
    void = torch.full((2, 4, 4), 255, device=device)
    assert not class_mask(void, C, seeded(0, device)).any()
    assert class_mask(void, C, seeded(0, device), count_ignore=True).all()
    assert not class_mask(void, C, seeded(0, device), pool='batch').any()


def test_batch_pool_draws_from_all_images():
    """Images of one class each: drawn from its own set always, from the batch's half the time."""
    label = torch.arange(4).view(4, 1, 1).expand(4, 2, 2)
    assert class_mask(label, C, seeded(0)).all()
    taken = torch.stack([class_mask(label, C, seeded(s), pool='batch')[:, 0, 0, 0] for s in range(400)])
    assert torch.allclose(taken.float().mean(0), torch.tensor(.5), atol=.1)


def test_nothing_synchronises():
    label = random_label(2)
    with no_sync():
        for pool in ('image', 'batch'):
            class_mask(label, C, seeded(0), count_ignore=True, pool=pool)
        for mask in (box_mask, square_mask, blocks, cow_mask):
            mask(2, 32, 32, seeded(0))


# ------------------------------------------------------------------ boxes, squares, cow masks


def bounds(mask: torch.Tensor) -> tuple[int, int, int, int]:
    """top, left, height, width of the true pixels, which must fill their bounding box."""
    ys, xs = mask.nonzero().T
    top, left, bottom, right = (int(v) for v in (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1))
    assert mask[top:bottom, left:right].all() and mask.sum() == (bottom - top) * (right - left)
    return top, left, bottom - top, right - left


@on_devices
@pytest.mark.parametrize('stride', [1, 8])
@pytest.mark.parametrize('area', [.1, .5, 1.])
def test_box_has_its_area_and_its_grid(device, stride, area):
    masks = box_mask(16, 96, 128, seeded(0, device), device, area, stride)
    assert masks.shape == (16, 1, 96, 128) and masks.dtype == torch.bool
    for mask in masks[:, 0].cpu():
        box = bounds(mask)
        assert all(v % stride == 0 for v in box)
        # Rounding moves each side by half a cell at most.
        slack = stride * (box[2] + box[3] + stride) / 2 / mask.numel()
        assert abs(mask.float().mean() - area) <= slack + 1e-6
    assert len({bounds(m) for m in masks[:, 0].cpu()}) > 8 or area == 1.


def test_box_distribution():
    boxes = torch.tensor([bounds(m) for m in box_mask(2000, 32, 32, seeded(0))[:, 0]]).float()
    # The height's logarithm is uniform in [log .5, 0], so the median height is sqrt(.5) of 32.
    assert abs(boxes[:, 2].median() - 32 * .5**.5) < 1.5
    assert abs(boxes[:, 3].median() - 32 * .5**.5) < 1.5
    # Every pixel of the border is reached, and places are symmetric.
    assert (boxes[:, 0] == 0).any() and (boxes[:, 0] + boxes[:, 2] == 32).any()
    free = 32 - boxes[:, 2:]
    assert torch.allclose((boxes[:, :2] - free / 2).mean(0), torch.zeros(2), atol=.3)


@on_devices
def test_square_is_square_on_the_grid(device):
    masks = square_mask(32, 64, 96, seeded(0, device), device)[:, 0].cpu()
    boxes = [bounds(m) for m in masks]
    assert all(height == width and not any(v % 8 for v in (top, left, height)) for top, left, height, width in boxes)
    assert len({b[2] for b in boxes}) > 3


def test_square_area_range():
    sides = {bounds(m)[2] for m in square_mask(200, 64, 64, seeded(0), area=(.25, .25))[:, 0]}
    assert sides == {32}
    smallest = bounds(square_mask(1, 64, 64, seeded(0), area=(0., 0.))[0, 0])
    assert smallest[2] == 8
    tops = {bounds(m)[0] for m in square_mask(200, 64, 64, seeded(0), area=(.25, .25))[:, 0]}
    assert tops == {0, 8, 16, 24, 32}


def test_incomplete_cells_stay_uncovered():
    assert not square_mask(50, 20, 20, seeded(0))[..., 16:].any()
    assert not box_mask(50, 20, 20, seeded(0), stride=8)[:, :, 16:].any()


@on_devices
@pytest.mark.parametrize(('height', 'width', 'block'), [(32, 48, 8), (30, 47, 8), (21, 9, 6), (5, 7, 1), (9, 12, 9)])
def test_blocks_against_loops(height, width, block, device):
    """Cells of round(side / block); of equal size only where the sides are multiples."""
    rows, columns = round(height / block), round(width / block)
    noise = torch.rand(3, 1, rows, columns, generator=seeded(4, device), device=device)
    mask = block_mask(3, height, width, seeded(4, device), device, block, .6)
    assert mask.shape == (3, 1, height, width) and mask.dtype == torch.bool
    for b, y, x in torch.cartesian_prod(*map(torch.arange, (3, height, width))).tolist():
        row = max(r for r in range(rows) if r * height / rows <= y)
        column = max(c for c in range(columns) if c * width / columns <= x)
        assert mask[b, 0, y, x] == (noise[b, 0, row, column] > .6)


@pytest.mark.parametrize('ratio', [0., .3, .7, .9])
def test_blocks_keep_their_share(ratio):
    mask = block_mask(50, 128, 96, seeded(0), block=4, ratio=ratio)
    assert mask.float().mean() == pytest.approx(1 - ratio, abs=.01)


def slow_cow(height: int, width: int, sigma: float, share: float, noise: torch.Tensor):
    """Circular convolution with a sampled Gaussian, by loops, cut at the Gaussian quantile."""
    def kernel(n):
        distance = torch.arange(n, dtype=torch.float64)
        images = sum(torch.exp(-(distance + k * n)**2 / (2 * sigma**2)) for k in range(-3, 4))
        return images / images.sum()
    ky, kx = kernel(height), kernel(width)
    smooth = torch.zeros_like(noise, dtype=torch.float64)
    for dy in range(height):
        for dx in range(width):
            smooth += ky[dy] * kx[dx] * noise.double().roll((dy, dx), (0, 1))
    quantile = torch.distributions.Normal(0., 1.).icdf(torch.tensor(share)).item()
    return smooth < smooth.mean() + smooth.std() * quantile


@pytest.mark.parametrize('size', [(16, 24), (15, 17)])
def test_cow_against_convolution(size):
    g = seeded(5)
    torch.rand(2, 2, 1, 1, 1, generator=g)
    noise = torch.randn(2, 1, *size, generator=g)
    mask = cow_mask(2, *size, seeded(5), sigma=(.125, .125), share=(.3, .3))
    for b in range(2):
        expected = slow_cow(*size, .125 * min(size), .3, noise[b, 0])
        # Pixels on the threshold itself may fall on either side.
        assert (mask[b, 0] != expected).sum() <= 1


@on_devices
@batches
def test_cow_covers_its_share(batch, device):
    mask = cow_mask(batch, 128, 96, seeded(batch, device), device)
    assert mask.shape == (batch, 1, 128, 96) and mask.dtype == torch.bool
    # The threshold is that of a Gaussian, which few large blobs follow only roughly.
    assert (mask.float().mean((1, 2, 3)) - .5).abs().max() < .12


def test_cow_share_and_sigma_are_per_image():
    mask = cow_mask(64, 64, 64, seeded(0), share=(.1, .9))
    share = mask.float().mean((1, 2, 3))
    assert share.min() < .2 and share.max() > .8
    assert abs(share.mean() - .5) < .1
    # The smoother the noise, the shorter the border between the two parts.
    def border(sigma):
        mask = cow_mask(16, 64, 64, seeded(0), sigma=(sigma, sigma))
        return (mask[..., 1:] != mask[..., :-1]).float().mean()
    # A Gaussian field's level crossings fall as 1 / sigma.
    assert border(1 / 32) / border(1 / 8) == pytest.approx(4, rel=.15)


def test_cow_sigma_is_log_uniform():
    """A border is as long as sigma is short, so its logarithm is uniform between the ends' too."""
    mask = cow_mask(200, 64, 64, seeded(0), sigma=(1 / 32, 1 / 8))
    border = (mask[..., 1:] != mask[..., :-1]).float().mean((1, 2, 3)).log()
    low, middle, high = border.quantile(torch.tensor([.1, .5, .9])).tolist()
    # 80 % of a range of log 4, widened a little by what differs between images of one sigma.
    assert high - low == pytest.approx(.8 * math.log(4), rel=.2)
    assert middle == pytest.approx((low + high) / 2, abs=.1)


@on_devices
@pytest.mark.parametrize('mask', [box_mask, square_mask, blocks, cow_mask])
def test_seed_decides(mask, device):
    first, again, other = (mask(4, 64, 64, seeded(s, device), device) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not all(torch.equal(first[0], m) for m in first[1:]), 'each image has its own'


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: box_mask(1, 8, 8, area=0.), r'area 0.0 must be in \(0, 1\]'),
    (lambda: box_mask(1, 8, 8, stride=16), 'stride 16 .* 8x8'),
    (lambda: square_mask(1, 8, 8, area=(.5, .2)), 'area .* increasing'),
    (lambda: block_mask(1, 8, 8, block=9), 'block 9 .* at most the image size, which is 8x8'),
    (lambda: block_mask(1, 8, 8, block=4, ratio=1.), r'ratio 1.0 must be in \[0, 1\)'),
    (lambda: cow_mask(1, 8, 8, sigma=(0., 1.)), 'sigma .* above 0'),
    (lambda: cow_mask(1, 8, 8, share=(0., 1.)), r'share .* within \(0, 1\)'),
])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
