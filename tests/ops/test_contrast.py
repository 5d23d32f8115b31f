import math

import pytest
import torch

from mmseg_camix.ops import contrast as ops
from mmseg_camix.ops.masks import square_mask
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

from .contrast_reference import B, H, K, W, bank_of, fast, maps, slow


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


def test_golden():
    """One anchor, one negative at a right angle: ln(1 + exp(0 - 1 / tau))."""
    first, second = torch.tensor([[[1., 0.]]]), torch.tensor([[[0., 1.]]])
    negatives = ops.Negatives(second, torch.tensor([[1]]), torch.tensor([[ops.ELSEWHERE]]))
    for tau in (.1, 1.):
        loss = ops.region_contrast(first, first, torch.tensor([[0]]), negatives, torch.ones(1, 1), tau)
        assert loss.item() == pytest.approx(math.log1p(math.exp(-1 / tau)), rel=1e-4)
    # As like the negative as the positive: ln 2.
    loss = ops.region_contrast(first, second, torch.tensor([[0]]), negatives, torch.ones(1, 1))
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
    bank = tuple(item.to(device) for item in bank_of())
    with no_sync():
        for pool in ('image', 'batch'):
            fast(m, pool=pool, bank=bank, ratio=.5, at_once=100).backward()
        ops.sample_cells(m['overlap'], (2, 2), 2)


# ------------------------------------------------------------------ negatives, anchors, cost


@on_devices
@pytest.mark.parametrize('ratio', [0., .25, .5, .9, 1.])
def test_a_share_of_both_maps_without_repetition(ratio, device):
    m = maps(0, device)
    cut, target = (ops.unit_embeddings(m[name]) for name in ('cut', 'target'))
    labels = [m[f'{name}_label'].flatten(1) for name in ('cut', 'target')]
    drawn = ops.draw_negatives(cut, target, *labels, ratio, seeded(1, device))
    assert drawn.embedding.shape == (B, round(2 * H * W * ratio), K)
    for b in range(B):
        places = []
        for embedding, label, cell in zip(drawn.embedding[b], drawn.label[b], drawn.cell[b]):
            result = [which for which, first in enumerate((cut, target)) if torch.equal(first[b, cell], embedding)]
            assert len(result) == 1
            assert labels[result[0]][b, cell] == label
            places.append((result[0], int(cell)))
        assert len(set(places)) == len(places)


def test_every_cell_is_drawn_alike_and_images_apart():
    cells, times = 8, 400
    first = torch.arange(cells).float().view(1, cells, 1).expand(2, -1, -1)
    generator, hits, apart = seeded(0), torch.zeros(2, 2 * cells), 0
    for _ in range(times):
        drawn = ops.draw_negatives(first, first + cells, *[torch.zeros(2, cells).long()] * 2, .5, generator)
        result = drawn.embedding[..., 0].long()
        hits.scatter_add_(1, result, torch.ones(result.shape))
        apart += not torch.equal(result[0].sort().values, result[1].sort().values)
    assert (hits / times - .5).abs().max() < .12
    assert apart > .9 * times


@pytest.mark.parametrize(('pixels', 'stride', 'cells'), [
    (64, 8, 8), (64, 8, 9), (60, 8, 8), (65, 8, 9), (7, 1, 7), (96, 2, 48)])
def test_cells_lie_in_the_middle(pixels, stride, cells):
    """Of their pixels; or, where a cell more than fits was made, on multiples of the stride."""
    values = torch.arange(pixels)[None, :, None].expand(1, -1, 3)
    actual = ops.sample_cells(values, (cells, 1), stride)[0]
    extra = (cells - 1) * stride >= pixels
    expected = [min(i * stride + (0 if extra else stride // 2), pixels - 1) for i in range(cells)]
    assert actual.tolist() == expected


@pytest.mark.parametrize('cells', [8, 9])
def test_squares_cover_whole_cells(cells):
    """The ninth, centred on the border, sees what lies at the border."""
    masks = square_mask(32, 64, 64, seeded(0), stride=8)
    result = ops.sample_cells(masks[:, 0], (cells, cells), 8).view(-1, cells, cells)
    corners = torch.tensor([*range(0, 64, 8), 63][:cells])
    assert torch.equal(result, masks[:, 0][:, corners][:, :, corners])


def test_weights_by_hand():
    overlap = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    sure = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]).bool()
    third, half = 1 / 3, 1 / 2
    assert ops.anchor_weights(overlap).tolist() == [[.25, .25, .25, 0], [.25, 0, 0, 0]]
    assert ops.anchor_weights(overlap, sure).tolist() == [[half, 0, half, 0], [0] * 4]
    torch.testing.assert_close(ops.anchor_weights(overlap, sure, 'overlap'),
                               torch.tensor([[third / 2, 0, third / 2, 0], [0] * 4]))


def saved_bytes(cells: int, at_once: int) -> int:
    """Of distinct tensors that the backward pass holds."""
    g, held = seeded(0), {}
    anchor = torch.randn(1, cells, 8, generator=g, requires_grad=True)
    label = torch.randint(5, (1, cells), generator=g)
    negatives = ops.draw_negatives(anchor.detach(), anchor.detach(), label, label, 1.)

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ops.region_contrast(anchor, anchor, label, negatives, torch.ones(1, cells), at_once=at_once).backward()
    return sum(held.values())


def test_memory_grows_with_the_cells_not_their_square():
    small, large = saved_bytes(64, 2**12), saved_bytes(512, 2**12)
    assert large < 10 * small
    # Held whole, it is the square: the test above can fail.
    assert saved_bytes(512, 2**24) > 30 * saved_bytes(64, 2**24)
