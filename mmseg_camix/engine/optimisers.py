"""How parameters are grouped for the optimiser."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with few groups, and layer-wise decay of the learning rate.

    mmengine's makes one group of each parameter (more than a thousand for a MiT-B5), and the
    optimiser then updates them one by one. Here parameters of the same settings share a group, and
    parameters that are not trained (a teacher's, frozen ones) are in none.

    ``paramwise_cfg`` as in mmengine, and besides:

    - ``layer_decay``: the learning rate of the backbone's last layer is multiplied by it once, of
      the layer before twice, and so on down to the stem. Backbones say how deep a parameter lies
      (`layer_of`): MiT, TimmViT and TimmFeatures do.

    Args:
        optim_wrapper_cfg: config of the optimiser's wrapper.
        paramwise_cfg: see above.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise = dict(paramwise_cfg or {})
        self.layer_decay = paramwise.pop('layer_decay', None)
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f'paramwise_cfg: layer_decay={self.layer_decay} must lie in (0, 1]')
        # An empty one would make mmengine leave out the grouping.
        super().__init__(optim_wrapper_cfg, paramwise or dict(bypass_duplicate=False))

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   is_dcn_module: int | float | None = None) -> None:
        """Append the groups of `module`; mmengine calls it for each part of the model."""
        if prefix:
            super().add_params(params, module, prefix, is_dcn_module)
            return
        single: list[dict] = []
        with _quiet():  # mmengine says a line about each parameter
            super().add_params(single, module, prefix, is_dcn_module)
        factors = self._factors(module)
        for group in single:
            factor = factors.get(id(group['params'][0]), 1.0)
            if factor != 1.0:
                group['lr'] = group.get('lr', self.base_lr) * factor
        usual = {'lr': self.base_lr, 'weight_decay': self.base_wd}
        groups = _merged(single, {key: value for key, value in usual.items() if value is not None})
        for group in groups:
            settings = ', '.join(f'{key} {value:g}' for key, value in group.items() if key != 'params')
            print_log(f'{len(group["params"])} parameters with {settings}', 'current')
        params.extend(groups)

    def _factors(self, model: nn.Module) -> dict[int, float]:
        """Parameter -> factor of its learning rate, by its depth."""
        if self.layer_decay is None:
            return {}
        backbones = [part for part in model.modules() if hasattr(part, 'layer_of')]
        if not backbones:
            raise ValueError('layer_decay needs a backbone that knows its layers (MiT, TimmViT, TimmFeatures)')
        return {id(parameter): self.layer_decay ** (part.num_layers_of_decay + 1 - part.layer_of(name))
                for part in backbones for name, parameter in part.named_parameters()}


def _merged(single: list[dict], usual: dict) -> list[dict]:
    """Groups of one parameter each, merged where all settings agree. mmengine has left out the frozen ones."""
    merged: dict[tuple, dict] = {}
    for group in single:
        settings = usual | {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))['params'].extend(group['params'])
    return list(merged.values())


@contextmanager
def _quiet() -> Iterator[None]:
    """Let mmengine's logger say nothing.

    A filter, not `logging.disable`: loggers remember whether a level is enabled, and those of mmengine are
    not told when it changes, so that they would stay silent for the rest of the training.
    """
    logger = MMLogger.get_current_instance()
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
