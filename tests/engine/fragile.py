"""Steps that break on purpose, each in its own way, and trainings of them."""

import copy

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_camix.models.objectives import Objective
from tests.models import tiny
from tests.world import config

KINDS = ('nan', 'loss', 'gradient')


@MODELS.register_module()
class Fragile(Objective):
    """A loss on the source that is not finite at given iterations.

    'nan': 0 / 0, in loss and gradients; 'loss': infinite, with gradients that are finite; 'gradient': 0,
    whose gradient is 0 times infinity.
    """

    def __init__(self, view='source', at=(), kind='nan', ranks=None):
        super().__init__(view)
        self.at, self.kind, self.ranks = tuple(at), kind, ranks

    def forward(self, step, student):
        logits = step.passes[self.view].logits
        if step.progress.iteration not in self.at or (self.ranks and step.progress.seed % 2 not in self.ranks):
            return dict(loss_fragile=logits.mean() * 0)
        zero = (logits * 0).sum()
        broken = dict(nan=zero / zero.detach(), loss=logits.mean() + float('inf'), gradient=zero.sqrt())
        return dict(loss_fragile=broken[self.kind])


class States(Hook):
    """Everything that a step may change, before and after each iteration; runs after all other hooks."""

    priority = 'LOWEST'

    def __init__(self):
        self.before, self.after = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before.append(state(runner))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append(state(runner))


def state(runner):
    teacher = getattr(runner.model, 'teacher', None)
    return copy.deepcopy(dict(model=dict(runner.model.state_dict()), steps=teacher and teacher.steps_made,
                              progress=getattr(runner.model, 'progress', None),
                              optimizer=runner.optim_wrapper.state_dict()['state']))


def weights_of(state, network):
    """The part of a state that belongs to the student or to the teacher, by the names of a segmentor."""
    prefix = dict(student='student.', teacher='teacher.model.')[network]
    return {name.removeprefix(prefix): value for name, value in state['model'].items() if name.startswith(prefix)}


def same(first, second):
    """Bit by bit; NaN equals NaN."""
    if isinstance(first, torch.Tensor):
        return first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num()) \
            and torch.equal(first.isnan(), second.isnan())
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def fragile_config(world, folder, method='DACS', at=(1,), kind='nan', max_iters=3, hook=None, **changes):
    """A training whose steps ``at`` break, watched by the hook."""
    cfg = config(world, folder, method, tiny.small(num_classes=19), max_iters, **changes)
    cfg.model.objectives = dict(fragile=dict(type='Fragile', at=list(at), kind=kind))
    cfg.custom_hooks.append(dict(type='NonFiniteHook', **(hook or {})))
    return cfg


def train(cfg):
    runner, states = Runner.from_cfg(cfg), States()
    runner.register_hook(states)
    runner.train()
    return runner, states
