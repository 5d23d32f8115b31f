import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_camix.ops.losses import pixel_cross_entropy, probability_mse, upsample
from tests.devices import batches, on_devices, seeded
from tests.sync_counter import no_sync

C, H, W = 5, 6, 7


def sample(batch: int = 2, device: str = 'cpu', dtype: torch.dtype = torch.float32) -> tuple:
    """Logits of the label's size, labels with some void, weights with some zeros."""
    g = seeded(batch)
    logits = (torch.randn(batch, C, H, W, generator=g) * 3).to(dtype)
    label = torch.randint(C + 1, (batch, H, W), generator=g)
    label[label == C] = 255
    weight = torch.rand(batch, H, W, generator=g)
    weight[weight < .3] = 0
    return logits.to(device), label.to(device), weight.to(device)


def slow_cross_entropy(logits, label, weight, normalise: str, divisor=None) -> float:
    total = weights = divisors = valid = 0.
    for b in range(len(label)):
        for y in range(H):
            for x in range(W):
                weights += weight[b, y, x].item()
                divisors += 0 if divisor is None else divisor[b, y, x].item()
                c = label[b, y, x].item()
                if c == 255:
                    continue
                valid += 1
                scores = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                total -= weight[b, y, x].item() * math.log(scores[c] / sum(scores))
    by = dict(pixels=label.numel(), valid=valid, weight=weights if divisor is None else divisors)
    return total / by[normalise]


@on_devices
@batches
@pytest.mark.parametrize('normalise', ['pixels', 'weight', 'valid'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_cross_entropy_against_loops(batch, normalise, dtype, device):
    logits, label, weight = sample(batch, device, dtype)
    loss = pixel_cross_entropy(logits, label, weight, normalise=normalise)
    assert loss.dtype == torch.float32 and loss.dim() == 0
    # The reference begins from the same (rounded) logits: arithmetic must be fp32 for bf16 too.
    expected = slow_cross_entropy(logits, label, weight, normalise)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_divisor_keeps_numerator():
    logits, label, weight = sample()
    gate = (weight > 0).float()
    loss = pixel_cross_entropy(logits, label, weight, normalise='weight', divisor=gate)
    assert loss.item() == pytest.approx(slow_cross_entropy(logits, label, weight, 'weight', gate), rel=1e-5)


@on_devices
@pytest.mark.parametrize('normalise', ['pixels', 'weight', 'valid'])
@pytest.mark.parametrize('case', ['no weight', 'only void'])
def test_nothing_to_learn_from_is_exactly_zero(normalise, case, device):
    logits, label, weight = sample(device=device)
    logits.requires_grad_()
    if case == 'no weight':
        weight = torch.zeros_like(weight)
    else:
        label = torch.full_like(label, 255)
    loss = pixel_cross_entropy(logits, label, weight, normalise=normalise)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_no_weight_is_weight_one():
    logits, label, _ = sample()
    for normalise in ('pixels', 'weight', 'valid'):
        assert torch.equal(pixel_cross_entropy(logits, label, normalise=normalise),
                           pixel_cross_entropy(logits, label, torch.ones(1), normalise=normalise))


@pytest.mark.parametrize('align_corners', [False, True])
def test_logits_are_upsampled(align_corners):
    _, label, weight = sample()
    small = torch.randn(2, C, 3, 4, generator=seeded(0))
    large = F.interpolate(small, (H, W), mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(
        pixel_cross_entropy(small, label, weight, align_corners=align_corners),
        pixel_cross_entropy(large, label, weight))
    assert upsample(large, (H, W)) is large


def test_weights_broadcast():
    """Row weights (H, 1) are worth what their expansion is, in the divisor too."""
    logits, label, _ = sample()
    rows = torch.linspace(0, 1, H).unsqueeze(1)
    for normalise in ('pixels', 'weight'):
        torch.testing.assert_close(
            pixel_cross_entropy(logits, label, rows, normalise=normalise),
            pixel_cross_entropy(logits, label, rows.expand(2, H, W), normalise=normalise))


@on_devices
@batches
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_mse_against_loops(batch, dtype, device):
    logits, _, weight = sample(batch, device, dtype)
    target = torch.randn(batch, C, H, W, generator=seeded(9)).softmax(1).to(device)
    total = 0.
    for b in range(batch):
        for y in range(H):
            for x in range(W):
                scores = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                probs = [s / sum(scores) for s in scores]
                squares = [(p - q)**2 for p, q in zip(probs, target[b, :, y, x].tolist())]
                total += weight[b, y, x].item() * sum(squares) / C
    loss = probability_mse(logits, target, weight)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(total / weight.numel(), rel=1e-5)


def test_mse_ends():
    logits, _, _ = sample()
    assert probability_mse(logits, logits.softmax(1)) == 0
    # Certain of one class against certain of another: two classes differ by 1.
    first, second = (F.one_hot(torch.full((1, H, W), c), C).movedim(3, 1).float() for c in (0, 1))
    assert probability_mse(first * 100, second).item() == pytest.approx(2 / C)


@pytest.mark.parametrize('normalise', ['pixels', 'weight', 'valid'])
def test_gradients(normalise):
    g = seeded(0)
    logits = torch.randn(1, 3, 2, 2, generator=g, dtype=torch.float64, requires_grad=True)
    label = torch.randint(3, (1, 3, 3), generator=g)
    label[0, 0, 0] = 255
    weight = torch.rand(1, 3, 3, generator=g)
    target = torch.randn(1, 3, 3, 3, generator=g, dtype=torch.float64).softmax(1)
    assert torch.autograd.gradcheck(lambda x: pixel_cross_entropy(x, label, weight, normalise=normalise), logits)
    assert torch.autograd.gradcheck(lambda x: probability_mse(x, target, weight), logits)


def test_no_gradient_into_targets():
    logits, _, _ = sample()
    target = logits.softmax(1).requires_grad_()
    probability_mse(logits.clone().requires_grad_(), target).backward()
    assert target.grad is None


def test_nothing_synchronises():
    logits, label, weight = sample()
    logits.requires_grad_()
    with no_sync():
        for normalise in ('pixels', 'weight', 'valid'):
            loss = pixel_cross_entropy(logits, label, weight, normalise=normalise)
            (loss + probability_mse(logits, logits.softmax(1), weight)).backward()
