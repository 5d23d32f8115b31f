
import pytest
import torch

from mmseg_camix.ops.ema import ema_alpha, ema_update_
from tests.devices import on_devices, seeded
from tests.sync_counter import no_sync

SHAPES = [(3,), (2, 5), (), (4, 1, 3, 3)]


def tensors(seed: int, device: str = 'cpu', dtype: torch.dtype = torch.float32) -> list:
    g = seeded(seed)
    return [torch.randn(s, generator=g).to(device, dtype) for s in SHAPES]


def ema_closed_form(students: list[torch.Tensor], alpha: float) -> torch.Tensor:
    """The weight of student i among n is (1 - a_i) * a_(i+1) * ... * a_(n-1), in fp64."""
    alphas = [min(1 - 1 / (t + 1), alpha) for t in range(len(students))]
    total = torch.zeros_like(students[0], dtype=torch.float64)
    for i, student in enumerate(students):
        weight = 1 - alphas[i]
        for a in alphas[i + 1:]:
            weight *= a
        total += weight * student.double()
    return total


def test_schedule():
    first = [ema_alpha(t, .99) for t in (0, 1, 2, 3, 98)]
    assert first == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4, 98 / 99])
    # 1 - 1/(t + 1) passes .99 at t = 99.
    assert ema_alpha(99, .99) == ema_alpha(10**6, .99) == .99


@on_devices
@pytest.mark.parametrize('alpha', [.5, .9, .99])
def test_closed_form(alpha, device):
    teacher = [torch.full_like(t, 7.) for t in tensors(0, device)]
    history = [tensors(s, device) for s in range(30)]
    for step, student in enumerate(history):
        ema_update_(teacher, student, ema_alpha(step, alpha))
    for i, mean in enumerate(teacher):
        torch.testing.assert_close(mean.double(), ema_closed_form([s[i] for s in history], alpha), rtol=1e-5, atol=1e-6)


@on_devices
def test_first_update_copies_exactly(device):
    teacher, student = tensors(0, device), tensors(1, device)
    ema_update_(teacher, student, ema_alpha(0, .99))
    assert all(torch.equal(t, s) for t, s in zip(teacher, student))


@on_devices
def test_mixed_dtypes(device):
    """bf16 and integer tensors of either side; the teacher's dtypes and storages stay."""
    teacher = [*tensors(0, device), *tensors(1, device, torch.float64), torch.tensor(3, device=device)]
    student = [*tensors(2, device, torch.bfloat16), *tensors(3, device), torch.tensor(8, device=device)]
    expected = [.75 * t.double() + .25 * s.double() for t, s in zip(teacher[:-1], student[:-1])]
    dtypes, pointers = [t.dtype for t in teacher], [t.data_ptr() for t in teacher]
    ema_update_(teacher, student, .75)
    for mean, wanted in zip(teacher, expected):
        torch.testing.assert_close(mean.double(), wanted, rtol=1e-5, atol=1e-6)
    assert teacher[-1].item() == 8
    assert [t.dtype for t in teacher] == dtypes and [t.data_ptr() for t in teacher] == pointers


def test_no_graph_and_student_untouched():
    teacher = [torch.zeros(3, requires_grad=True)]
    student = [torch.ones(3, requires_grad=True)]
    ema_update_(teacher, student, .5)
    assert teacher[0].is_leaf and teacher[0].tolist() == [.5] * 3
    assert student[0].tolist() == [1.] * 3


def test_bad_input():
    with pytest.raises(ValueError, match='1 tensors of the teacher do not match 2'):
        ema_update_([torch.ones(1)], [torch.ones(1)] * 2, .5)


def test_nothing_synchronises():
    with no_sync():
        ema_update_(tensors(0), tensors(1), .9)
