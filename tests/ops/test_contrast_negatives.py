"""What anchors are compared with, which cells are anchors, and what it costs."""
import pytest
import torch

from mmseg_camix.ops import contrast as ops
from mmseg_camix.ops.masks import square_mask
from tests.devices import DEVICES, seeded

from .contrast_reference import B, H, K, W, maps

on_devices = pytest.mark.parametrize('device', DEVICES)


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
            found = [which for which, one in enumerate((cut, target)) if torch.equal(one[b, cell], embedding)]
            assert len(found) == 1
            assert labels[found[0]][b, cell] == label
            places.append((found[0], int(cell)))
        assert len(set(places)) == len(places)


def test_every_cell_is_drawn_alike_and_images_apart():
    cells, times = 8, 400
    one = torch.arange(cells).float().view(1, cells, 1).expand(2, -1, -1)
    generator, hits, apart = seeded(0), torch.zeros(2, 2 * cells), 0
    for _ in range(times):
        drawn = ops.draw_negatives(one, one + cells, *[torch.zeros(2, cells).long()] * 2, .5, generator)
        found = drawn.embedding[..., 0].long()
        hits.scatter_add_(1, found, torch.ones(found.shape))
        apart += not torch.equal(found[0].sort().values, found[1].sort().values)
    assert (hits / times - .5).abs().max() < .12
    assert apart > .9 * times


@pytest.mark.parametrize(('pixels', 'stride', 'cells'), [
    (64, 8, 8), (64, 8, 9), (60, 8, 8), (65, 8, 9), (7, 1, 7), (96, 2, 48)])
def test_cells_lie_in_the_middle(pixels, stride, cells):
    """Of their pixels; or, where a cell more than fits was made, on multiples of the stride."""
    values = torch.arange(pixels)[None, :, None].expand(1, -1, 3)
    found = ops.sample_cells(values, (cells, 1), stride)[0]
    extra = (cells - 1) * stride >= pixels
    expected = [min(i * stride + (0 if extra else stride // 2), pixels - 1) for i in range(cells)]
    assert found.tolist() == expected


@pytest.mark.parametrize('cells', [8, 9])
def test_squares_cover_whole_cells(cells):
    """The ninth, centred on the border, sees what lies at the border."""
    masks = square_mask(32, 64, 64, seeded(0), stride=8)
    found = ops.sample_cells(masks[:, 0], (cells, cells), 8).view(-1, cells, cells)
    corners = torch.tensor([*range(0, 64, 8), 63][:cells])
    assert torch.equal(found, masks[:, 0][:, corners][:, :, corners])


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
