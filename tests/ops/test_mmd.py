"""MMD against two loops over pairs, and what a distance of distributions must do."""

import math

import pytest
import torch

from mmseg_camix.ops.mmd import choose_cells, masked_mean, mmd
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync


def features(batch=3, n=7, m=7, channels=4, seed=0, device='cpu', shift=0.5):
    generator = seeded(seed)
    x = torch.randn(batch, n, channels, generator=generator)
    y = torch.randn(batch, m, channels, generator=generator) * 1.5 + shift
    return x.to(device), y.to(device)


def weights(batch=3, n=7, seed=1):
    return torch.rand(batch, n, generator=seeded(seed)) * (torch.rand(batch, n, generator=seeded(seed + 1)) > 0.3)


def naive(x, y, weight_x, weight_y, kernels, ratio):
    """One image: lists of features, all pairs, Python floats."""
    points = [(f.tolist(), w / sum(weight_x), 1) for f, w in zip(x, weight_x)]
    points += [(f.tolist(), w / sum(weight_y), -1) for f, w in zip(y, weight_y)]
    total, pairs = 0.0, 0.0
    for i, (f, a, _) in enumerate(points):
        for j, (g, b, _) in enumerate(points):
            if i != j:
                total += a * b * sum((u - v)**2 for u, v in zip(f, g))
                pairs += a * b
    bandwidth = total / pairs
    result = 0.0
    for f, a, s in points:
        for g, b, t in points:
            distance = sum((u - v)**2 for u, v in zip(f, g))
            kernel = sum(math.exp(-distance / (bandwidth * ratio**(k - kernels // 2))) for k in range(kernels))
            result += s * t * a * b * kernel
    return result


@on_devices
@pytest.mark.parametrize(('kernels', 'ratio'), [(5, 2.0), (1, 2.0), (4, 3.0)])
def test_against_two_loops(device, kernels, ratio):
    x, y = features(m=5)
    wx, wy = weights(), weights(n=5, seed=4)
    expected = [naive(*image, kernels, ratio) for image in zip(x.double(), y.double(), wx.tolist(), wy.tolist())]
    actual = mmd(x.to(device), y.to(device), wx.to(device), wy.to(device), kernels, ratio)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.cpu(), torch.tensor(expected), rtol=1e-4, atol=1e-6)
    ones = [naive(*image, [1.0] * 7, [1.0] * 5, kernels, ratio) for image in zip(x.double(), y.double())]
    torch.testing.assert_close(mmd(x, y, kernels=kernels, ratio=ratio), torch.tensor(ones), rtol=1e-4, atol=1e-6)


def test_the_bandwidth_is_the_mean_over_different_pairs():
    """Two points a distance of 3 apart: d = 9 = b, so one kernel of width b gives 2 - 2 / e."""
    x, y = torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.0)
    torch.testing.assert_close(mmd(x, y, kernels=1), torch.tensor([2 - 2 / math.e]))
    five = sum(2 - 2 * math.exp(-1 / width) for width in (0.25, 0.5, 1, 2, 4))
    torch.testing.assert_close(mmd(x, y), torch.tensor([five]))


def test_gradients_are_those_of_finite_differences_with_a_fixed_bandwidth():
    x, y = features(batch=1, n=4, m=4)
    x.requires_grad_()
    mmd(x, y)[0].backward()
    both = torch.cat([x.detach()[0], y[0]]).double()
    distance = (both[:, None] - both[None]).square().sum(2)
    bandwidth = distance.sum() / (8 * 7)
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4, dtype=torch.float64) / 4

    def value(points):
        d = (points[:, None] - points[None]).square().sum(2)
        return sum(sign @ torch.exp(-d / (bandwidth * 2.0**k)) @ sign for k in range(-2, 3))

    for i, j in ((0, 0), (2, 1), (3, 3)):
        step = torch.zeros_like(both)
        step[i, j] = 1e-5
        slope = (value(both + step) - value(both - step)) / 2e-5
        assert x.grad[0, i, j].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-6)


def test_gradients_are_those_of_all_steps_apart():
    """Against autograd on the plain formula, with other weights, numbers of kernels and ratios."""
    for kernels, ratio in ((5, 2.0), (4, 1.5), (1, 2.0)):
        points = torch.cat(features(m=5), 1)
        share = torch.cat([weights(), weights(n=5, seed=4)], 1)
        share = torch.cat([part / part.sum(1, keepdim=True) for part in share.split([7, 5], 1)], 1)
        signed = share * torch.tensor([1.0] * 7 + [-1.0] * 5)
        plain, fast = (points.clone().requires_grad_() for _ in range(2))
        distance = (plain[:, :, None] - plain[:, None]).square().sum(3)
        pairs = share[:, :, None] * share[:, None] * (1 - torch.eye(12))
        bandwidth = ((pairs * distance).sum((1, 2)) / pairs.sum((1, 2))).detach()[:, None, None]
        kernel = sum(torch.exp(-distance / (bandwidth * ratio**(k - kernels // 2))) for k in range(kernels))
        value = (signed[:, :, None] * signed[:, None] * kernel).sum((1, 2))
        scale = torch.tensor([1.0, -2.0, 0.5])
        (value * scale).sum().backward()
        (mmd(fast[:, :7], fast[:, 7:], share[:, :7], share[:, 7:], kernels, ratio) * scale).sum().backward()
        torch.testing.assert_close(fast.grad, plain.grad, rtol=1e-4, atol=1e-6)


def test_zero_for_equal_sets_and_symmetric():
    x, y = features()
    assert mmd(x, x.flip(1)).max() < 1e-6
    torch.testing.assert_close(mmd(x, y), mmd(y, x))
    assert (mmd(x, y) > 0.01).all()


def test_neither_place_nor_scale_of_the_features_matters():
    x, y = features()
    for changed in ((x + 1000, y + 1000), (x * 50, y * 50), (x * 0.01, y * 0.01)):
        torch.testing.assert_close(mmd(*changed), mmd(x, y), rtol=1e-3, atol=1e-4)


def test_an_empty_set_gives_zero_and_no_gradient():
    x, y = (item.requires_grad_() for item in features())
    weight = torch.ones(3, 7)
    weight[1] = 0
    result = mmd(x, y, weight, weight)
    assert result[1] == 0
    assert (result[[0, 2]] > 0).all()
    assert mmd(x, y, weight, None)[1] == mmd(x, y, None, weight)[1] == 0
    result.sum().backward()
    assert (x.grad[1] == 0).all()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[0] != 0).any()


def test_equal_features_everywhere():
    x = torch.ones(2, 5, 3, requires_grad=True)
    result = mmd(x, torch.ones(2, 5, 3))
    result.sum().backward()
    assert (result == 0).all()
    assert torch.isfinite(x.grad).all()


@on_devices
def test_low_precision_and_autocast(device):
    x, y = features(n=30, m=30, device=device)
    x, y = x.bfloat16(), y.bfloat16()
    exact = mmd(x.float(), y.float())
    torch.testing.assert_close(mmd(x, y), exact)
    wide = x.float().requires_grad_()
    gradient, = torch.autograd.grad(mmd(wide, y.float()).sum(), wide)
    with torch.autocast(device, dtype=torch.bfloat16):
        value = mmd(wide, y.float())
        torch.testing.assert_close(value, exact)
        torch.testing.assert_close(torch.autograd.grad(value.sum(), wide)[0], gradient)


def test_waits_for_no_device():
    x, y = features()
    weight = weights()
    with no_sync():
        mmd(x, y, weight, weight)
        masked_mean(torch.randn(3, 4, 2, 2), torch.ones(3, 2, 2))
        choose_cells(weight, 3)


def test_wrong_shapes():
    x, y = features()
    with pytest.raises(ValueError, match=r'\(B, N, C\) and \(B, M, C\)'):
        mmd(x, y[:2])
    with pytest.raises(ValueError, match=r'weights must be \(3, 7\)'):
        mmd(x, y, torch.ones(3, 6))


def test_masked_mean_by_loops():
    maps, weight = torch.randn(2, 3, 4, 5), (torch.rand(2, 4, 5) > 0.5).float()
    weight[1] = 0
    result = masked_mean(maps, weight)
    inside = [(y, x) for y in range(4) for x in range(5) if weight[0, y, x]]
    for c in range(3):
        assert result[0, c].item() == pytest.approx(sum(maps[0, c, y, x].item() for y, x in inside) / len(inside), 1e-4)
    assert (result[1] == 0).all()


def test_cells_of_the_patch_come_first():
    weight = torch.zeros(2, 50)
    weight[0, 10:15] = 1
    weight[1, :40] = 0.5
    drawn = [choose_cells(weight, 20, seeded(seed)) for seed in range(20)]
    for cells in drawn:
        assert all(len(set(row.tolist())) == 20 for row in cells)
        assert set(range(10, 15)) <= set(cells[0].tolist())
        assert cells[1].max() < 40
    assert torch.equal(drawn[3], choose_cells(weight, 20, seeded(3)))
    counts = torch.stack([cells[1] for cells in drawn]).flatten().bincount(minlength=40)
    assert counts.min() >= 3  # 10 is expected
