"""The optimiser of the released code: as a list that names parameters repeatedly, under the torch of its time."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.models.backbones import ResNet
from torch import nn

from mmseg_camix.models.backbones import MiT

SGD = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4)
ADAM = dict(type='Adam', lr=2e-3, weight_decay=5e-5)


class Model(nn.Module):
    def __init__(self, backbone=None):
        super().__init__()
        self.backbone = backbone or ResNet(18, base_channels=4, norm_cfg=dict(type='BN', requires_grad=False))
        self.decode_head = nn.Conv2d(4, 3, 3)
        self.teacher = nn.Linear(3, 3).requires_grad_(False)


def wrapper(model, **optimizer):
    cfg = dict(type='OptimWrapper', constructor='ReleasedFamilyConstructor', optimizer=optimizer,
               paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}))
    with DefaultScope.overwrite_default_scope('mmseg'):
        return build_optim_wrapper(model, cfg)


def released_list(model):
    """(parameter, factor on the rate), as the released code collects them."""
    net = model.backbone
    for part in (net.conv1, net.bn1, net.layer1, net.layer2, net.layer3, net.layer4):
        for module in part.modules():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    yield parameter, 1
    for parameter in model.decode_head.parameters():
        yield parameter, 10


def sgd_(p, gradient, state, lr, momentum, weight_decay):
    change = gradient + weight_decay * p
    state['buffer'] = change.clone() if 'buffer' not in state else momentum * state['buffer'] + change
    p -= lr * state['buffer']


def adam_(p, gradient, state, lr, weight_decay, betas=(0.9, 0.999)):
    change = gradient + weight_decay * p
    t = state['t'] = state.get('t', 0) + 1
    state['m'] = betas[0] * state.get('m', 0) + (1 - betas[0]) * change
    state['v'] = betas[1] * state.get('v', 0) + (1 - betas[1]) * change**2
    p -= lr * state['m'] / (1 - betas[0]**t) / ((state['v'] / (1 - betas[1]**t)).sqrt() + 1e-8)


def set_gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)


@pytest.mark.parametrize(('settings', 'update'), [(SGD, sgd_), (ADAM, adam_)])
def test_fifty_steps_equal_those_of_a_list_with_repetitions(settings, update):
    torch.manual_seed(0)
    model, reference = Model().double(), Model().double()
    reference.load_state_dict(model.state_dict())
    ours, options, states = wrapper(model, **settings), dict(settings), {}
    lr = (options.pop('type'), options.pop('lr'))[1]
    occurrences = list(released_list(reference))
    for step in range(50):
        for network in (model, reference):
            set_gradients(network, step)
        decay = (1 - step / 50)**0.9  # schedules set the rates of groups
        for group in ours.optimizer.param_groups:
            group['lr'] = lr * decay * (10 if group['params'][0] is model.decode_head.weight else 1)
        ours.step()
        with torch.no_grad():
            for p, factor in occurrences:
                update(p, p.grad, states.setdefault(p, {}), lr * decay * factor, **options)
    for (name, p), other in zip(model.named_parameters(), reference.parameters()):
        torch.testing.assert_close(p, other, rtol=1e-6, atol=1e-6, msg=name)


def test_groups_say_how_often_they_are_stepped():
    model = Model()
    groups = wrapper(model, **SGD).optimizer.param_groups
    steps = {id(p): (group['steps'], round(group['lr'], 6)) for group in groups for p in group['params']}
    net = model.backbone
    assert steps[id(net.conv1.weight)] == (1, 0.02)
    assert steps[id(net.layer3[1].conv2.weight)] == (3, 0.02)
    assert steps[id(net.layer2[0].downsample[0].weight)] == (4, 0.02)
    assert steps[id(model.decode_head.weight)] == steps[id(model.decode_head.bias)] == (1, 0.2)
    assert len(steps) == sum(p.requires_grad for p in model.parameters())


def test_an_interrupted_training_continues_alike():
    torch.manual_seed(0)
    models = Model(), Model()
    models[1].load_state_dict(models[0].state_dict())
    first, second = (wrapper(model, **ADAM) for model in models)
    for step in range(4):
        if step == 2:
            state = second.optimizer.state_dict()
            second = wrapper(models[1], **ADAM)
            second.optimizer.load_state_dict(state)
        for model, optimiser in zip(models, (first, second)):
            set_gradients(model, step)
            optimiser.step()
    assert all(torch.equal(p, q) for p, q in zip(*(model.parameters() for model in models)))


@pytest.mark.parametrize(('backbone', 'change', 'message'), [
    (lambda: MiT('b0'), {}, 'is for ResNets.*GroupedConstructor'), (lambda: None, dict(fused=True), 'fused=True')])
def test_what_it_cannot_do_is_refused(backbone, change, message):
    with pytest.raises(ValueError, match=message):
        wrapper(Model(backbone()), **SGD, **change)
