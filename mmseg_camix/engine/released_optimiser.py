"""The optimiser of the DACS family as its released code runs it: backbone parameters are stepped several times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.models.backbones import ResNet
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.optim import Optimizer

from .optimisers import GroupedConstructor


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ReleasedFamilyConstructor(GroupedConstructor):
    """`GroupedConstructor`, with each parameter of a ResNet stepped as often as the released code lists it.

    Deviations:
        Papers: one step per iteration. Released code (DACS, CAMix, DSP, RCCR): the optimiser's list repeats parameters,
        as it walks through all modules of the backbone and takes the parameters of each. A convolution of a stage is
        listed with its stage, its block and itself, three times; that of a downsampling branch four times; conv1 and
        the head once. The torch of the time (up to 1.7) applied the update at each occurrence, momentum and step
        counter included, so that the backbone learns three to four times as fast. The published DeepLabV2 numbers were
        obtained so. Today's torch refuses or warns about such lists.
        Ours: a choice; the default is one step. This constructor repeats the step, with the same gradients, for the
        parameters that are listed further times. Weight decay, momentum and Adam's moments compound accordingly.

    Args as in `GroupedConstructor`. Fused optimisers with a loss scale divide gradients by it in each step, so that
    ``fused=True`` is refused.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        if self.optimizer_cfg.get('fused'):
            raise ValueError('ReleasedFamilyConstructor repeats steps and does not support fused=True; leave it out')
        wrapper = super().__call__(model)
        optimizer = wrapper.optimizer
        optimizer.__class__ = type(type(optimizer).__name__, (_RepeatedSteps, type(optimizer)), {})
        return wrapper

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        """Append the groups of `module`, divided by the number of steps."""
        if prefix:
            super().add_params(params, module, prefix, is_dcn_module)
            return
        groups: list[dict] = []
        super().add_params(groups, module, prefix, is_dcn_module)
        steps = dict(_backbone_steps(module))
        for group in groups:
            by_steps: dict[int, list[nn.Parameter]] = {}
            for parameter in group['params']:
                by_steps.setdefault(steps.get(id(parameter), 1), []).append(parameter)
            for count, parameters in sorted(by_steps.items()):
                params.append(dict(group, params=parameters, steps=count))
                print_log(f'{len(parameters)} of them with {count} steps per iteration', 'current')


def _backbone_steps(model: nn.Module) -> Iterator[tuple[int, int]]:
    """(id of a parameter, number of modules between its ResNet and itself): its occurrences in the released list."""
    backbones = [part for part in model.modules() if isinstance(part, ResNet)]
    if not backbones:
        raise ValueError('ReleasedFamilyConstructor is for ResNets, whose parameters the released code repeats; use '
                         "constructor='GroupedConstructor'")
    for backbone in backbones:
        for name, parameter in backbone.named_parameters():
            yield id(parameter), name.count('.')


class _RepeatedSteps(Optimizer):
    """Mixin of an optimiser: makes group['steps'] steps for each group in every call of `step`."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        groups = self.param_groups
        try:
            for count in range(1, max(group['steps'] for group in groups)):
                self.param_groups = [group for group in groups if group['steps'] > count]
                super().step()
        finally:
            self.param_groups = groups
        return loss
