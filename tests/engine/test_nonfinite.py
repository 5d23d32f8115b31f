"""Detection of numbers that are not finite, and snapshots of buffers."""

import pytest
import torch

from mmseg_camix.engine.nonfinite import BufferSnapshot, any_not_finite, loss_terms
from mmseg_camix.models.contrast import MemoryBank
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

NAN, INF = float('nan'), float('inf')


@on_devices
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('bad', [NAN, INF, -INF])
def test_one_bad_number(device, dtype, bad):
    """At the beginning, in the middle, at the end of tensors of many sizes, vectorised tails among them."""
    for size in (1, 3, 8, 33, 1000, 4097):
        others = [item.to(device, dtype) for item in (torch.randn(5, 2, generator=seeded(size)), torch.zeros(0))]
        assert not any_not_finite([*others, torch.randn(size, generator=seeded(0)).to(device, dtype)])
        for place in {0, size // 2, size - 1}:
            tensor = torch.randn(size, generator=seeded(0)).to(device, dtype)
            tensor[place] = bad
            assert any_not_finite([*others, tensor])
            assert any_not_finite([tensor, *others])


def test_what_is_finite():
    """Also infinities of both signs, large numbers whose squares are not, and other types."""
    assert any_not_finite([torch.tensor([INF, -INF])])
    assert any_not_finite([torch.tensor([INF]), torch.tensor([-INF])])
    assert not any_not_finite([torch.full((100,), 1e30), torch.full((100,), 1e300, dtype=torch.float64)])
    assert not any_not_finite([torch.full((100,), 6e4, dtype=torch.float16)])
    assert not any_not_finite([])
    assert not any_not_finite([torch.tensor([1, 2]), torch.tensor([True])])
    assert any_not_finite(iter([torch.tensor([1, 2]), torch.tensor([NAN])]))


def test_no_synchronisation():
    tensors = [torch.randn(10), torch.randn(3, 3).double(), torch.randn(4).bfloat16()]
    with no_sync():
        any_not_finite([*tensors, *loss_terms(dict(loss_a=torch.randn(3))).values()])


def test_losses_are_what_is_trained_on():
    """As mmengine's `parse_losses` takes them."""
    output = {'a.loss_ce': torch.tensor([1.0, 3.0]), 'a.acc_seg': torch.tensor(NAN), 'loss': torch.ones(2, 2),
              'b.loss_many': [torch.tensor([2.0, 4.0]), torch.tensor(1.0)]}
    assert {name: float(value) for name, value in loss_terms(output).items()} == {
        'a.loss_ce': 2.0, 'loss': 1.0, 'b.loss_many': 4.0}
    assert loss_terms([torch.ones(1)]) == {}


def test_buffers_are_restored():
    """Changed in place, replaced, resized; non-persistent buffers are not restored."""
    norm, bank = torch.nn.BatchNorm2d(3), MemoryBank(2, 4)
    model = torch.nn.ModuleList([norm, bank])
    norm.register_buffer('setting', torch.ones(2), persistent=False)
    norm.register_buffer('empty', None)
    bank.push(torch.ones(3, 4), torch.ones(3).long())
    snapshot = BufferSnapshot(model)
    for round in range(3):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        kept = norm.running_mean, bank.embeddings
        snapshot.take()
        norm(torch.randn(2, 3, 4, 4) * NAN)
        bank.push(torch.full((5 + round, 4), NAN), torch.zeros(5 + round).long())
        norm.setting.fill_(7)
        snapshot.restore()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert (norm.running_mean is kept[0], bank.embeddings is kept[1]) == (True, True)
        assert norm.setting.tolist() == [7, 7]
        bank.push(torch.ones(6, 4), torch.ones(6).long())  # another size than before, and then the same
