import math

import pytest
import torch

from mmseg_camix.ops.masks import choose_half, class_mask, class_region, present_classes
from tests.devices import DEVICES, seeded
from tests.sync_counter import no_sync

C = 7
on_devices = pytest.mark.parametrize('device', DEVICES)
batches = pytest.mark.parametrize('batch', [1, 2, 3, 4])


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


def test_class_mask_golden():
    """Seed 0 gives the scores .4963, .7682, .0885, .1320: the two lowest are classes 2 and 3."""
    label = torch.tensor([[[0, 1, 1], [2, 3, 255]]])
    assert class_mask(label, 4, seeded(0)).int().tolist() == [[[[0, 0, 0], [1, 1, 0]]]]


@on_devices
def test_one_class_and_only_void(device):
    one = torch.full((2, 4, 4), 5, device=device)
    assert class_mask(one, C, seeded(0, device)).all()
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


def test_unknown_pool():
    with pytest.raises(ValueError, match="'images'.*image, batch"):
        class_mask(random_label(1), C, pool='images')


def test_seed_decides():
    label = torch.arange(100).view(1, 10, 10).expand(4, 10, 10)
    masks = [class_mask(label, 100, seeded(s)) for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_nothing_synchronises():
    label = random_label(2)
    with no_sync():
        for pool in ('image', 'batch'):
            class_mask(label, C, seeded(0), count_ignore=True, pool=pool)
