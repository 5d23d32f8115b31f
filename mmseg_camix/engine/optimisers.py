"""Parameter groups of the optimiser."""

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
