"""Eqs 5 to 7 of CAMix against loops over pixels, and the values where they used to break."""
import math

import pytest
import torch

from mmseg_camix.ops import entropy as E
from tests.devices import on_devices
from tests.sync_counter import no_sync


def slow_entropy(distribution):
    return -sum(p * math.log(p) for p in distribution if p > 0)


def test_mean_probabilities_is_the_mean_of_the_softmaxes():
    passes = [torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    mean = E.mean_probabilities(iter(passes))
    for b in range(2):
        for y in range(3):
            for x in range(3):
                rows = []
                for logits in passes:
                    exps = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                    rows.append([e / sum(exps) for e in exps])
                expected = [sum(column) / 3 for column in zip(*rows)]
                assert mean[b, :, y, x].tolist() == pytest.approx(expected, abs=1e-6)


def test_mean_probabilities_keeps_float32_and_its_input():
    logits = torch.randn(1, 3, 2, 2).bfloat16()
    before = logits.clone()
    mean = E.mean_probabilities([logits, logits])
    assert mean.dtype == torch.float32
    assert torch.equal(logits, before)
    assert torch.allclose(mean.sum(1), torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match='at least one pass'):
        E.mean_probabilities([])


def test_entropy_of_every_pixel():
    probs = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0)).mul(3).softmax(1)
    values = E.predictive_entropy(probs)
    for b in range(2):
        for y in range(4):
            for x in range(3):
                expected = slow_entropy(probs[b, :, y, x].tolist())
                assert values[b, y, x].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_certain_and_underflowing_pixels_have_entropy_zero(dtype):
    probs = torch.tensor([300., 0., -300.]).view(1, 3, 1, 1).softmax(1).to(dtype)
    assert (probs == 0).any()
    value = E.predictive_entropy(probs)
    assert value.dtype == torch.float32
    assert value.item() == 0
    assert E.significance_mask(value, .1).all()


def test_a_mean_that_rounds_above_one_has_no_negative_entropy():
    above_one = torch.tensor([1., 0.]).nextafter(torch.tensor([2., 0.])).view(1, 2, 1, 1)
    assert E.predictive_entropy(above_one).item() == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_entropy_of_low_precision_is_finite_bounded_and_close(dtype):
    logits = torch.randn(4, 19, 16, 16, generator=torch.Generator().manual_seed(1)) * 20
    exact = E.predictive_entropy(logits.softmax(1))
    rough = E.predictive_entropy(logits.softmax(1).to(dtype))
    assert rough.isfinite().all()
    assert rough.min() >= 0
    assert rough.max() <= math.log(19)
    assert (rough - exact).abs().max() < .02


def test_uniform_distribution_has_the_largest_entropy():
    uniform = torch.full((1, 19, 2, 2), 1 / 19)
    assert E.predictive_entropy(uniform).flatten().tolist() == pytest.approx([math.log(19)] * 4)
    spread = torch.tensor([[[.1, .7], [.3, .2]], [[.1, .2], [.9, 0.]]])
    assert E.largest_entropy(spread).tolist() == pytest.approx([.7, .9])
    assert E.largest_entropy(spread, spread < .5).tolist() == pytest.approx([.3, .2])


def test_ramp_rises_from_exp_gamma_to_one():
    values = [E.ramp(-5., t, 100) for t in range(0, 121, 10)]
    assert values[0] == pytest.approx(math.exp(-5))
    assert values[10:] == [1, 1, 1]
    assert all(low < high for low, high in zip(values[:10], values[1:11]))
    assert E.ramp(-5., 25, 100) == pytest.approx(math.exp(-5 * .75 * .75))
    with pytest.raises(ValueError, match='positive, got 0'):
        E.ramp(-5., 0, 0)


def test_threshold_of_each_sample_by_the_printed_equation():
    k_sup = torch.tensor([.4, 2.])
    threshold = E.dynamic_threshold(3, 10, k_sup, beta=.6, gamma=-4.)
    expected = [.6 + .4 * math.exp(-4 * .7 * .7) * k for k in (.4, 2.)]
    assert threshold.tolist() == pytest.approx(expected)
    official = E.dynamic_threshold(3, 10, k_sup, beta=.6, gamma=-4., form='official')
    assert official.tolist() == pytest.approx([(.6 + .4 * math.exp(-4 * .7 * .7)) * k for k in (.4, 2.)])
    with pytest.raises(ValueError, match="'printed'.*available: paper, official"):
        E.dynamic_threshold(0, 1, 1., form='printed')


def test_significance_is_strict_and_by_sample():
    entropy = torch.tensor([[[.1, .5, .9]], [[.1, .5, .9]]])
    mask = E.significance_mask(entropy, torch.tensor([.5, .95]))
    assert mask.tolist() == [[[True, False, False]], [[True, True, True]]]
    assert torch.equal(E.significance_mask(entropy, .5)[1], mask[0])
    assert torch.equal(E.significance_mask(entropy, torch.tensor(.5))[1], mask[0])
    with pytest.raises(ValueError, match='2 samples'):
        E.significance_mask(entropy, torch.ones(3))


@pytest.mark.parametrize('size', [(8, 6), (7, 11), (4, 3)])
def test_upsampled_mask_takes_the_nearest_cell(size):
    mask = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(2)) < .5
    large = E.resize_mask(mask, size)
    assert large.dtype == torch.bool
    for y in range(size[0]):
        for x in range(size[1]):
            source = int((y + .5) * 4 / size[0]), int((x + .5) * 3 / size[1])
            assert torch.equal(large[:, y, x], mask[:, source[0], source[1]])


def test_quantiles_are_nearest_ranks():
    values = torch.randperm(101, generator=torch.Generator().manual_seed(3)).view(1, 1, 101).float()
    assert E.entropy_quantiles(values, (0, .1, .5, 1)).tolist() == [0, 10, 50, 100]
    many = torch.rand(2, 200, 200, generator=torch.Generator().manual_seed(4))
    rough = E.entropy_quantiles(many, (.25, .75), max_values=5000)
    assert rough.tolist() == pytest.approx([.25, .75], abs=.03)
    with pytest.raises(ValueError, match=r'\[0, 1\]'):
        E.entropy_quantiles(values, (50,))


@on_devices
@pytest.mark.parametrize('form', ['paper', 'official'])
def test_significance_never_waits_for_the_device(device, form):
    passes = [torch.randn(2, 19, 4, 4, device=device, dtype=torch.bfloat16) for _ in range(2)]
    with no_sync():
        entropy = E.predictive_entropy(E.mean_probabilities(passes))
        threshold = E.dynamic_threshold(5, 10, E.largest_entropy(entropy), form=form)
        mask = E.resize_mask(E.significance_mask(entropy, threshold), (16, 16))
        quantiles = E.entropy_quantiles(entropy)
    assert mask.shape == (2, 16, 16)
    assert mask.device == quantiles.device == passes[0].device
