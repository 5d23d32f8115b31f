"""Feature distance against loops, and where it is empty."""

import pytest
import torch

from mmseg_camix.ops.feature_distance import majority_cells, masked_feature_distance

THINGS = torch.tensor([False, True, False, True])


def by_loops(label, cell, min_share):
    batch, height, width = label.shape
    out = torch.zeros(batch, height // cell, width // cell, dtype=torch.bool)
    for b in range(batch):
        for y in range(height // cell):
            for x in range(width // cell):
                values = label[b, y * cell:(y + 1) * cell, x * cell:(x + 1) * cell].flatten().tolist()
                winner = max(range(5), key=lambda c: sum((4 if v > 3 else v) == c for v in values))
                count = sum((4 if v > 3 else v) == winner for v in values)
                out[b, y, x] = winner < 4 and bool(THINGS[winner]) and count / len(values) >= min_share
    return out


@pytest.mark.parametrize('min_share', [0.0, 0.4, 0.75, 1.0])
def test_cells_against_loops(min_share):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (2, 6, 9), generator=generator).repeat_interleave(2, 1).repeat_interleave(2, 2)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    label[:, :3, :3] = 1
    actual = majority_cells(label, THINGS, (4, 6), min_share)
    expected = by_loops(label, 3, min_share)
    ties = majority_cells(label, THINGS, (4, 6), 0.51)  # without ties there is one winner
    if min_share > 0.5:
        assert torch.equal(actual, expected)
        assert expected.any()
        assert not expected.all()
    else:
        assert (actual | ~ties).all()


def test_cells_that_do_not_divide_the_crop():
    label = torch.zeros(1, 512, 512, dtype=torch.long)
    label[:, :256] = 1
    result = majority_cells(label, THINGS, (65, 65))
    assert result.shape == (1, 65, 65)
    assert result[:, :32].all()
    assert not result[:, 33:].any()


def test_distance_against_loops():
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    mask = torch.rand(2, 3, 4) < 0.4
    distances = [((first[b, :, y, x] - second[b, :, y, x]) ** 2).sum().sqrt()
                 for b in range(2) for y in range(3) for x in range(4) if mask[b, y, x]]
    torch.testing.assert_close(masked_feature_distance(first, second, mask), sum(distances) / len(distances))


def test_an_empty_mask_is_zero_with_gradient_zero():
    first = torch.randn(1, 5, 3, 4, requires_grad=True)
    loss = masked_feature_distance(first, torch.randn(1, 5, 3, 4), torch.zeros(1, 3, 4, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(first.grad, torch.zeros_like(first))


def test_equal_features_have_a_finite_gradient():
    first = torch.randn(1, 5, 3, 4, requires_grad=True)
    masked_feature_distance(first, first.detach().clone(), torch.ones(1, 3, 4, dtype=torch.bool)).backward()
    assert torch.isfinite(first.grad).all()


def test_bfloat16_is_compared_in_fp32():
    first, second = torch.randn(1, 64, 2, 2), torch.randn(1, 64, 2, 2)
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    result = masked_feature_distance(first.bfloat16(), second.bfloat16(), mask)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, masked_feature_distance(first, second, mask), rtol=0.02, atol=0.02)
