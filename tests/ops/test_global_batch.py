"""What several processes draw together is what one draws alone."""

import pytest
import torch

from mmseg_camix.ops import contrast, global_batch, masks, mmd
from mmseg_camix.ops.augment import StrongAugment
from tests.devices import on_devices


def generators(world, device='cpu', seed=3):
    made = [global_batch.BatchGenerator(device) for _ in range(world)]
    for rank, generator in enumerate(made):
        generator.rank, generator.world = rank, world
        generator.manual_seed(seed)
    return made


def dealt(parts, dim=0):
    """Image b of process r is image r + world * b."""
    return torch.stack(parts, dim + 1).flatten(dim, dim + 1)


@on_devices
@pytest.mark.parametrize('world', [1, 2, 3])
@pytest.mark.parametrize('draw', [
    lambda batch, g, device: global_batch.rand((batch, 5), g, device),
    lambda batch, g, device: global_batch.randn((batch, 3, 4, 4), g, device),
    lambda batch, g, device: masks.choose_half(torch.ones(batch, 7, dtype=torch.bool, device=device), g),
    lambda batch, g, device: masks.box_mask(batch, 8, 8, g, device),
    lambda batch, g, device: masks.square_mask(batch, 16, 16, g, device, stride=2),
    lambda batch, g, device: masks.cow_mask(batch, 8, 8, g, device, share=(0.2, 0.8)),
    lambda batch, g, device: mmd.choose_cells(torch.ones(batch, 9, device=device), 4, g),
], ids=['rand', 'randn', 'classes', 'box', 'square', 'cow', 'cells'])
def test_processes_draw_what_one_draws(draw, world, device):
    """Twice, so that the second draw finds all generators at the same place."""
    single = torch.Generator(device).manual_seed(3)
    several = generators(world, device)
    for _ in range(2):
        expected = draw(2 * world, single, device)
        assert torch.equal(dealt([draw(2, g, device) for g in several]), expected)


def test_negatives_of_an_image_are_the_same_wherever_it_is():
    embedding, label = torch.rand(2, 4, 6, 3), torch.arange(24).view(4, 6)
    expected = contrast.draw_negatives(embedding[0], embedding[1], label, label, 0.5, torch.Generator().manual_seed(3))
    actual = [contrast.draw_negatives(embedding[0, r::2], embedding[1, r::2], label[r::2], label[r::2], 0.5, g)
             for r, g in enumerate(generators(2))]
    for item, parts in zip(expected, zip(*actual)):
        assert torch.equal(dealt(list(parts)), item)


@pytest.mark.parametrize('per', ['batch', 'image'])
def test_augmentation_of_an_image_is_the_same_wherever_it_is(per):
    augment = StrongAugment((0.0,) * 3, per=per, jitter_probability=0.5)
    for seed in range(6):
        expected = augment.draw(6, torch.Generator().manual_seed(seed))
        actual = [augment.draw(2, g) for g in generators(3, seed=seed)]
        assert [actual[i % 3][i // 3] for i in range(6)] == expected


def test_a_draw_for_all():
    single = torch.Generator().manual_seed(3)
    expected = global_batch.rand((1,), single)
    for generator in generators(3):
        with global_batch.shared_draws(generator):
            assert torch.equal(global_batch.rand((1,), generator), expected)
        assert generator.world == 3
    with global_batch.shared_draws(single):  # torch's own
        global_batch.rand((2,), single)


def test_a_plain_generator_serves_one_process():
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    assert torch.equal(global_batch.rand((4, 2), first), torch.rand(4, 2, generator=second))
    assert global_batch.process_of(None) == (0, 1)
