import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_camix.ops import contrast as ops
from tests.devices import DEVICES
from tests.sync_counter import no_sync

from .contrast_reference import B, H, K, W, bank_of, fast, maps, slow

on_devices = pytest.mark.parametrize('device', DEVICES)


@on_devices
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('options', [
    dict(), dict(filter_class=False), dict(normalise='overlap'), dict(pool='batch'), dict(bank=bank_of()),
    dict(pool='batch', bank=bank_of(), normalise='overlap'), dict(filter_class=False, bank=bank_of())], ids=str)
def test_against_a_quadruple_loop(options, dtype, device):
    m = maps(1, device, dtype)
    loss = fast(m, **options)
    assert loss.dtype == torch.float32 and loss.dim() == 0
    assert loss.item() == pytest.approx(slow(m, **options), rel=1e-4)


def test_every_option_changes_the_reference():
    """Else the test above would not see whether it has an effect."""
    values = [slow(maps(1), **options) for options in (
        dict(), dict(filter_class=False), dict(normalise='overlap'), dict(pool='batch'), dict(bank=bank_of()))]
    assert all(abs(a - b) > 1e-3 for i, a in enumerate(values) for b in values[:i])


def test_golden():
    """One anchor, one negative at a right angle: ln(1 + exp(0 - 1 / tau))."""
    one, other = torch.tensor([[[1., 0.]]]), torch.tensor([[[0., 1.]]])
    negatives = ops.Negatives(other, torch.tensor([[1]]), torch.tensor([[ops.ELSEWHERE]]))
    for tau in (.1, 1.):
        loss = ops.region_contrast(one, one, torch.tensor([[0]]), negatives, torch.ones(1, 1), tau)
        assert loss.item() == pytest.approx(math.log1p(math.exp(-1 / tau)), rel=1e-4)
    # As like the negative as the positive: ln 2.
    loss = ops.region_contrast(one, other, torch.tensor([[0]]), negatives._replace(embedding=other), torch.ones(1, 1))
    assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize('at_once', [1, 24, 2 * 24 * 5, 2 * 24 * 12])
@pytest.mark.parametrize('detach', [True, False])
def test_chunks_change_nothing(at_once, detach):
    results = []
    for size in (2**24, at_once):
        m = maps(2)
        m['cut'].requires_grad_()
        loss = fast(m, at_once=size, detach=detach, bank=bank_of())
        loss.backward()
        results.append((loss.detach(), m['cut'].grad))
    for whole, chunked in zip(*results):
        torch.testing.assert_close(chunked, whole)


def test_gradient_against_finite_differences():
    m = {name: value.double() if value.is_floating_point() else value for name, value in maps(3).items()}
    m['cut'].requires_grad_()
    fast(m, detach=False).backward()
    for index in [(0, 1, 1, 1), (1, 3, 2, 0), (1, 0, 0, 3)]:
        step = torch.zeros_like(m['cut'])
        step[index] = 1e-2
        up, down = (fast({**m, 'cut': m['cut'].detach() + sign * step}).item() for sign in (1, -1))
        assert m['cut'].grad[index].item() == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=2e-4)


def test_negatives_carry_a_gradient_only_if_asked():
    grads = []
    for detach in (True, False):
        m = maps(2)
        m['cut'].requires_grad_()
        fast(m, detach=detach).backward()
        grads.append(m['cut'].grad)
    outside = ~m['overlap'][:, None].expand_as(grads[0])
    assert (grads[0][outside] == 0).all()
    assert (grads[1][outside] != 0).any()


def test_the_positive_gets_none():
    m = maps(2)
    m['cut'].requires_grad_()
    m['target'].requires_grad_()
    cut, target = (ops.unit_embeddings(m[name]) for name in ('cut', 'target'))
    label = m['cut_label'].flatten(1)
    empty = ops.Negatives(cut[:, :0], label[:, :0], label[:, :0])
    assert ops.region_contrast(cut, target, label, empty, torch.ones_like(label).float()) == 0
    negatives = ops.Negatives(cut.detach(), label + 1, label)
    ops.region_contrast(cut, target, label, negatives, torch.ones_like(label).float()).backward()
    assert m['cut'].grad.abs().sum() > 0
    assert m['target'].grad is None


def test_pulling_the_same_place_together_lowers_it():
    m = maps(4)
    m['sure'][:] = m['overlap'][:] = True
    losses = [fast({**m, 'cut': (1 - share) * m['cut'] + share * m['target']}).item()
              for share in (0., .25, .5, .75, 1.)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < .5 * losses[0]


def test_descent_brings_the_anchor_to_its_positive():
    m = maps(4)
    cut = m['cut'].clone().requires_grad_()
    optimizer = torch.optim.SGD([cut], lr=1.)
    before = F.cosine_similarity(cut, m['target'])[m['overlap'] & m['sure']].mean().item()
    for _ in range(20):
        optimizer.zero_grad()
        fast({**m, 'cut': cut}).backward()
        optimizer.step()
    assert F.cosine_similarity(cut, m['target'])[m['overlap'] & m['sure']].mean().item() > before + .3


@pytest.mark.parametrize('normalise', ops.NORMALISERS)
@pytest.mark.parametrize('nothing', ['overlap', 'sure'])
def test_without_positives_it_is_zero(nothing, normalise):
    m = maps()
    m[nothing][:] = False
    m['cut'].requires_grad_()
    loss = fast(m, normalise=normalise)
    loss.backward()
    assert loss == 0
    assert (m['cut'].grad == 0).all()


def test_without_negatives_it_is_zero():
    """All of one class, and a bank that is still empty."""
    m = maps()
    m['cut_label'][:] = m['target_label'][:] = 1
    m['cut'].requires_grad_()
    bank = torch.zeros(7, K), torch.full((7,), ops.EMPTY)
    loss = fast(m, bank=bank)
    loss.backward()
    assert loss == 0
    assert (m['cut'].grad == 0).all()


def test_an_empty_bank_changes_nothing():
    bank = torch.zeros(7, K), torch.full((7,), ops.EMPTY)
    torch.testing.assert_close(fast(maps(), bank=bank), fast(maps()), rtol=0, atol=0)


def test_zero_features_stay_finite():
    m = maps()
    m['cut'] = torch.zeros_like(m['cut']).requires_grad_()
    loss = fast(m)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(m['cut'].grad).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_does_not_lower_the_precision(dtype):
    m = maps(1)
    expected = fast(m)
    with torch.autocast('cpu', dtype=dtype):
        assert torch.equal(fast(m), expected)


@on_devices
def test_nothing_waits_for_the_device(device):
    m = maps(0, device)
    m['cut'].requires_grad_()
    bank = tuple(one.to(device) for one in bank_of())
    with no_sync():
        for pool in ('image', 'batch'):
            fast(m, pool=pool, bank=bank, ratio=.5, at_once=100).backward()
        ops.sample_cells(m['overlap'], (2, 2), 2)


def test_bad_arguments():
    m = maps()
    cut, label = ops.unit_embeddings(m['cut']), m['cut_label'].flatten(1)
    with pytest.raises(ValueError, match=r'ratio 1.5 must be in \[0, 1\]'):
        ops.draw_negatives(cut, cut, label, label, 1.5)
    with pytest.raises(ValueError, match="'sum' is unknown; available: positives, overlap"):
        ops.anchor_weights(m['overlap'].flatten(1), normalise='sum')
    with pytest.raises(ValueError, match='temperature 0 must be above 0'):
        ops.region_contrast(cut, cut, label, ops.draw_negatives(cut, cut, label, label), torch.ones(B, H * W), 0)
