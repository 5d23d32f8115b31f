import pytest
import torch

from mmseg_camix.ops.paste import paste
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

DTYPES = [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def random_mask(batch: int, device: str = 'cpu') -> torch.Tensor:
    return (torch.rand(batch, 1, 4, 5, generator=seeded(0)) < .5).to(device)


def values(shape: tuple, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randint(0, 200, shape, generator=seeded(seed)).to(dtype)


@on_devices
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('shape', [(1, 3, 4, 5), (4, 3, 4, 5), (2, 4, 5)])
def test_hard_paste_against_loops(shape, dtype, device):
    donor, over = (values(shape, dtype, s).to(device) for s in (1, 2))
    mask = random_mask(shape[0], device)
    out = paste(donor, over, mask)
    assert out.dtype == dtype and out.shape == shape
    for b in range(shape[0]):
        for y in range(4):
            for x in range(5):
                chosen = donor if mask[b, 0, y, x] else over
                assert torch.equal(out[b, ..., y, x], chosen[b, ..., y, x])


@on_devices
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_soft_paste(dtype, device):
    donor, over = (values((2, 3, 4, 5), dtype, s).to(device) for s in (1, 2))
    mask = random_mask(2, device)
    out = paste(donor, over, mask, opacity=.8)
    m = mask.double() * .8
    expected = m * donor.double() + (1 - m) * over.double()
    assert out.dtype == dtype
    rtol = 1e-2 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(out.double(), expected, rtol=rtol, atol=1e-5)
    # Outside it is the very same value, not one that passed through arithmetic.
    assert torch.equal(out[~mask.expand_as(out)], over[~mask.expand_as(out)])


def test_opacity_ends():
    donor, over = (values((2, 3, 4, 5), torch.float32, s) for s in (1, 2))
    assert torch.equal(paste(donor, over, random_mask(2), 0.), over)
    assert torch.equal(paste(donor, over, random_mask(2), 1.), paste(donor, over, random_mask(2)))


def test_inputs_stay_and_gradients_flow():
    donor, over = (torch.ones(1, 1, 4, 5, requires_grad=True) for _ in range(2))
    mask = random_mask(1)
    paste(donor, over, mask, .8).sum().backward()
    torch.testing.assert_close(donor.grad, mask * .8)
    torch.testing.assert_close(over.grad, 1 - mask * .8)


@pytest.mark.parametrize(('change', 'error', 'message'), [
    (dict(over=torch.zeros(2, 3, 4, 4)), ValueError, r'\(2, 3, 4, 5\) and \(2, 3, 4, 4\)'),
    (dict(mask=torch.zeros(2, 4, 5, dtype=torch.bool)), ValueError, r'\(2, 1, 4, 5\)'),
    (dict(mask=torch.zeros(2, 1, 4, 5)), ValueError, 'bool .* torch.float32'),
])
def test_bad_input(change, error, message):
    args = dict(donor=torch.zeros(2, 3, 4, 5), over=torch.zeros(2, 3, 4, 5), mask=random_mask(2))
    with pytest.raises(error, match=message):
        paste(**args | change)


def test_labels_cannot_be_blended():
    label = torch.zeros(2, 4, 5, dtype=torch.long)
    with pytest.raises(TypeError, match='labels have no mean'):
        paste(label, label, random_mask(2), .8)


def test_nothing_synchronises():
    image = torch.zeros(2, 3, 4, 5)
    with no_sync():
        paste(image, image, random_mask(2), .8)
        paste(image[:, 0], image[:, 0], random_mask(2))
