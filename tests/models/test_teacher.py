"""The teacher's mode, its closed form, and what survives a checkpoint."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_camix.models.teacher import EMATeacher

from . import tiny


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x)))


def randomise(net, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        for b in net.buffers():
            if b.is_floating_point():
                b.copy_(torch.rand(b.shape, generator=generator, dtype=b.dtype))


@pytest.mark.parametrize('alpha', [0.0, 0.5, 0.75, 0.99, 1.0])
def test_closed_form(alpha):
    """After n updates: theta' = sum_i w_i theta_i, the weights worked out by hand."""
    student = Net().double()
    teacher = EMATeacher(student, alpha=alpha)
    randomise(teacher.model, 100)
    history = [[p.clone() for p in teacher.model.parameters()]]
    weights = [1.0]
    for t in range(9):
        randomise(student, t)
        history.append([p.detach().clone() for p in student.parameters()])
        kept = min(1 - 1 / (t + 1), alpha)
        weights = [w * kept for w in weights] + [1 - kept]
        teacher.update(student)
        assert sum(weights) == pytest.approx(1)
        for i, p in enumerate(teacher.model.parameters()):
            torch.testing.assert_close(p, sum(w * state[i] for w, state in zip(weights, history)))
    assert teacher.steps_made == int(teacher.steps) == 9


def test_buffers_batch_leaves_them_running_copies_them():
    for norm in ('batch', 'running'):
        student = Net()
        teacher = EMATeacher(student, norm=norm)
        before = teacher.model.norm.running_mean.clone()
        randomise(student, 3)
        student.norm.num_batches_tracked += 5
        teacher.update(student)
        if norm == 'batch':
            assert torch.equal(teacher.model.norm.running_mean, before)
            assert teacher.model.norm.num_batches_tracked == 0
        else:
            assert torch.equal(teacher.model.norm.running_var, student.norm.running_var)
            assert teacher.model.norm.num_batches_tracked == 5


@pytest.mark.parametrize('norm', ['batch', 'running'])
def test_the_mode_survives_what_the_train_loop_does(norm):
    """The loop calls `model.train()` before each iteration."""
    model = tiny.method('DACS', teacher=dict(norm=norm))
    for _ in range(2):
        model.train()
        for module in model.teacher.model.modules():
            expected = norm == 'batch' and isinstance(module, _NormBase)
            assert module.training == expected, type(module).__name__
        assert all(m.training for m in model.student.modules())
        model.eval()
        assert not any(m.training for m in model.modules())


def test_norm_eval_of_the_backbone_is_respected():
    model = tiny.method('DACS', tiny.small(norm_eval=True))
    model.train()
    for network in (model.student, model.teacher.model):
        assert not network.backbone.norm.training
        assert network.decode_head.convs[0].bn.training
    assert model.student.backbone.dropout.training
    assert not model.teacher.model.backbone.dropout.training


def test_batch_statistics_are_those_of_the_target():
    """norm='batch': normalised with the batch at hand, and running statistics follow it."""
    teacher = EMATeacher(Net(), norm='batch').train()
    x = 5 + 3 * torch.randn(8, 3, 16, 16)
    out = teacher.model(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    before = teacher.model.conv(x).mean((0, 2, 3))
    torch.testing.assert_close(teacher.model.norm.running_mean, 0.1 * before)
    running = EMATeacher(Net(), norm='running').train()
    assert running.model(x).mean((0, 2, 3)).abs().max() > 0.1
    assert (running.model.norm.running_mean == 0).all()


@pytest.mark.parametrize('norm', ['batch', 'running'])
def test_it_is_deterministic(norm):
    model = tiny.method('DACS', teacher=dict(norm=norm)).train()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.teacher(images), model.teacher(images))


def test_frozen_parameters_of_the_student_are_followed_too():
    """A frozen stem still is part of the teacher (pretrained weights, say)."""
    model = tiny.method('DACS')
    model.student.backbone.conv.requires_grad_(False)
    with torch.no_grad():
        model.student.backbone.conv.weight.fill_(2.0)
    model.update_teacher()
    assert (model.teacher.model.backbone.conv.weight == 2).all()


def test_state_in_the_checkpoint():
    model = tiny.method('DACS')
    for _ in range(3):
        model.update_teacher()
    state = copy.deepcopy(model.state_dict())
    assert state['teacher.steps'] == 3
    resumed = tiny.method('DACS', seed=9)
    assert resumed.teacher.steps_made == 0
    resumed.load_state_dict(state)
    assert resumed.teacher.steps_made == 3
    # Both continue equally: alpha is that of step 3, not of step 0, which would copy the student.
    for item in (model, resumed):
        randomise(item.student, 4)
        item.update_teacher()
    for p, q in zip(model.teacher.parameters(), resumed.teacher.parameters()):
        assert torch.equal(p, q)
    assert not torch.equal(resumed.teacher.model.backbone.conv.weight, resumed.student.backbone.conv.weight)


def test_a_copy_is_exact():
    model = tiny.method('DACS')
    randomise(model.student, 6)
    model.teacher.copy_student(model.student)
    for key, value in model.student.state_dict().items():
        assert torch.equal(model.teacher.model.state_dict()[key], value), key


def test_init_weights_reach_the_student_alone():
    """The teacher is copied by the hook; initialising it by itself would make it another network."""
    model = tiny.method('DACS', seed=2)
    before = model.teacher.model.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    model.init_weights()
    for key, value in before.items():
        assert torch.equal(model.teacher.model.state_dict()[key], value), key
    assert not torch.equal(model.student.decode_head.conv_seg.weight, model.teacher.model.decode_head.conv_seg.weight)
