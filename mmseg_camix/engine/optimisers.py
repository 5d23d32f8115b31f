"""Parameter groups of the optimiser."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.models.backbones import ResNet
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.optim import Optimizer


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with few parameter groups, and layer-wise decay of the learning rate.

    mmengine creates one group per parameter (more than a thousand for a MiT-B5), which the optimiser updates one by
    one. Here parameters with equal settings share a group; parameters that are not trained (the teacher's, frozen
    ones) are in none.

    ``paramwise_cfg`` as in mmengine, and in addition:

    - ``layer_decay``: factor on the learning rate per layer of the backbone, applied once to the last layer, twice to
      the layer before, and so on down to the stem. The backbone must have `layer_of`: MiT, TimmViT and TimmFeatures.

    Args:
        optim_wrapper_cfg: config of the optimiser wrapper.
        paramwise_cfg: see above.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise = dict(paramwise_cfg or {})
        self.layer_decay = paramwise.pop('layer_decay', None)
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f'paramwise_cfg: layer_decay={self.layer_decay} must lie in (0, 1]')
        # With an empty dict mmengine would skip the grouping.
        super().__init__(optim_wrapper_cfg, paramwise or dict(bypass_duplicate=False))

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        """Append the groups of `module`; mmengine calls this for each module of the model."""
        if prefix:
            super().add_params(params, module, prefix, is_dcn_module)
            return
        single: list[dict] = []
        with _muted_logger():  # mmengine logs a line per parameter
            super().add_params(single, module, prefix, is_dcn_module)
        factors = self._factors(module)
        for group in single:
            factor = factors.get(id(group['params'][0]), 1.0)
            if factor != 1.0:
                group['lr'] = group.get('lr', self.base_lr) * factor
        defaults = {'lr': self.base_lr, 'weight_decay': self.base_wd}
        groups = _merge(single, {key: value for key, value in defaults.items() if value is not None})
        for group in groups:
            settings = ', '.join(f'{key} {value:g}' for key, value in group.items() if key != 'params')
            print_log(f'{len(group["params"])} parameters with {settings}', 'current')
        params.extend(groups)

    def _factors(self, model: nn.Module) -> dict[int, float]:
        """Id of each parameter -> factor on its learning rate, by its depth."""
        if self.layer_decay is None:
            return {}
        backbones = [part for part in model.modules() if hasattr(part, 'layer_of')]
        if not backbones:
            raise ValueError('layer_decay needs a backbone with layer_of (MiT, TimmViT, TimmFeatures)')
        return {id(parameter): self.layer_decay ** (part.num_layers_of_decay + 1 - part.layer_of(name))
                for part in backbones for name, parameter in part.named_parameters()}


def _merge(single: list[dict], defaults: dict) -> list[dict]:
    """Merge groups of one parameter each where all settings agree."""
    merged: dict[tuple, dict] = {}
    for group in single:
        settings = defaults | {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))['params'].extend(group['params'])
    return list(merged.values())


@contextmanager
def _muted_logger() -> Iterator[None]:
    """Suppress all records of mmengine's logger within the block.

    With a filter, because loggers cache whether a level is enabled: after `logging.disable` mmengine's loggers would
    stay silent for the rest of the training.
    """
    logger = MMLogger.get_current_instance()
    logger.addFilter(_reject)
    try:
        yield
    finally:
        logger.removeFilter(_reject)


def _reject(record: logging.LogRecord) -> bool:
    return False


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
