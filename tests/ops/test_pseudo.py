import pytest
import torch
import torch.nn.functional as F

from mmseg_camix.ops.pseudo import (
    align_distribution,
    class_thresholds,
    confidence_and_label,
    confidence_histogram,
    confident_share,
    row_weight,
    update_running_,
    valid_mask,
)
from tests.devices import batches, on_devices, seeded
from tests.sync_counter import no_sync


def random_logits(batch: int, device: str = 'cpu', size: tuple = (5, 4, 6)) -> torch.Tensor:
    return (torch.randn(batch, *size, generator=seeded(batch)) * 4).to(device)


@on_devices
@batches
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_confidence_is_the_softmax_after_upsampling(batch, align_corners, dtype, device):
    logits = random_logits(batch, device).to(dtype)
    confidence, label = confidence_and_label(logits, (8, 11), align_corners)
    probs = F.interpolate(logits.double(), (8, 11), mode='bilinear', align_corners=align_corners).softmax(1)
    assert confidence.dtype == torch.float32 and label.dtype == torch.long
    assert confidence.shape == label.shape == (batch, 8, 11)
    torch.testing.assert_close(confidence.double(), probs.max(1).values, rtol=1e-5, atol=1e-6)
    assert torch.equal(label, probs.argmax(1))


def test_confidence_survives_huge_logits():
    confidence, _ = confidence_and_label(torch.tensor([3e4, -3e4]).view(1, 2, 1, 1), (1, 1))
    assert confidence.item() == 1


@on_devices
@batches
def test_share_against_loops(batch, device):
    confidence = torch.rand(batch, 6, 7, generator=seeded(batch)).to(device)
    valid = torch.rand(batch, 6, 7, generator=seeded(9)).to(device) < .7
    for mask in (None, valid):
        sure = total = 0
        expected = []
        for b in range(batch):
            kept = [c for c, v in zip(confidence[b].flatten().tolist(), valid[b].flatten().tolist())
                    if v or mask is None]
            expected.append(sum(c >= .6 for c in kept) / len(kept))
            sure, total = sure + sum(c >= .6 for c in kept), total + len(kept)
        images = confident_share(confidence, .6, per='image', valid=mask)
        whole = confident_share(confidence, .6, per='batch', valid=mask)
        assert images.tolist() == pytest.approx(expected)
        assert whole.tolist() == pytest.approx([sure / total] * batch)


def test_share_includes_the_threshold():
    assert confident_share(torch.tensor([[[.968, .9679]]]), .968).tolist() == [.5]


def test_share_of_no_valid_pixel_is_zero():
    nothing = torch.zeros(2, 3, 3, dtype=torch.bool)
    for per in ('batch', 'image'):
        assert confident_share(torch.ones(2, 3, 3), .5, per, nothing).tolist() == [0, 0]


@on_devices
def test_row_weight(device):
    assert row_weight(5, 1, 2, device).tolist() == [[0], [1], [1], [0], [0]]
    assert row_weight(3, device=device).tolist() == [[1], [1], [1]]
    weight = torch.ones(2, 5, 4, device=device) * row_weight(5, 1, 2, device)
    assert weight[:, :1].sum() == 0 and weight[:, 3:].sum() == 0 and weight[:, 1:3].all()
    with pytest.raises(ValueError, match='15 rows at the top and 120 .* 96 rows'):
        row_weight(96, 15, 120)


@on_devices
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_align_against_loops(dtype, device):
    probs = random_logits(2, device).softmax(1).to(dtype)
    prior, running = (torch.rand(5, generator=seeded(s)).to(device) for s in (1, 2))
    out = align_distribution(probs, prior, running)
    for b in range(2):
        for y in range(4):
            for x in range(6):
                q = [p * t / r for p, t, r in zip(probs[b, :, y, x].tolist(), prior.tolist(), running.tolist())]
                assert out[b, :, y, x].tolist() == pytest.approx([v / sum(q) for v in q], rel=1e-5)


def test_alignment_without_division_by_zero():
    probs = torch.tensor([1., 0.]).view(1, 2, 1, 1)
    out = align_distribution(probs, torch.tensor([.5, .5]), torch.tensor([1., 0.]))
    assert out.isfinite().all()
    assert align_distribution(probs, torch.tensor([0., 1.]), torch.tensor([.5, .5])).sum() == 0


@on_devices
@pytest.mark.parametrize('padding', [(), (0, 2, 0, 1)])
def test_running_average(device, padding):
    running = torch.full((5,), .2, device=device)
    expected = [.2] * 5
    for seed in (1, 2, 3):
        probs = random_logits(seed, device).softmax(1)
        mean = [probs[:, c].double().mean().item() for c in range(5)]
        expected = [.9 * e + .1 * m for e, m in zip(expected, mean)]
        valid = F.pad(torch.ones_like(probs[:, 0], dtype=torch.bool), padding) if padding else None
        assert update_running_(running, F.pad(probs, padding, value=.7), momentum=.9, valid=valid) is running
    assert running.tolist() == pytest.approx(expected, rel=1e-5)
    assert running.sum().item() == pytest.approx(1)


def test_nothing_synchronises():
    logits, running = random_logits(2), torch.full((5,), .2)
    with no_sync():
        confidence, label = confidence_and_label(logits, (8, 11))
        confident_share(confidence, .968, valid=confidence > .1)
        confidence * row_weight(8, 1, 2)
        align_distribution(logits.softmax(1), running, running)
        update_running_(running, logits.softmax(1))
        class_thresholds(confidence_histogram(confidence, label, 5, 10), .5)


@on_devices
@pytest.mark.parametrize('share', [.1, .5, 1.])
def test_thresholds_keep_a_share_of_each_class(share, device):
    """Against sorted confidences, within a bin; class 3 has no pixel, and label 255 no class."""
    bins, label = 1000, torch.randint(3, (2, 40, 50), generator=seeded(0)).to(device)
    confidence = torch.rand(2, 40, 50, generator=seeded(1)).to(device) * (1 + label) / 3
    label[:, :5] = 255
    thresholds = class_thresholds(confidence_histogram(confidence, label, 4, bins), share)
    for index in range(3):
        values = confidence[label == index].sort(descending=True).values
        last = values[max(0, round(share * len(values)) - 1)].item()
        assert last - 2 / bins <= thresholds[index].item() <= last + 1e-6
    assert thresholds[3].item() == 0


@on_devices
def test_within_is_the_upper_left_corner(device):
    actual = valid_mask([(2, 3), (4, 1)], (4, 5), device)
    expected = [[[y < height and x < width for x in range(5)] for y in range(4)] for height, width in ((2, 3), (4, 1))]
    assert actual.device.type == torch.device(device).type
    assert actual.tolist() == expected
