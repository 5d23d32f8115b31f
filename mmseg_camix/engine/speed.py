"""Options of speed and memory, each by one word: ``--speed amp=bf16 channels_last``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from .config import is_adapted

DESCRIPTION = """options of speed and memory:
  amp=bf16         passes in bfloat16; weights and losses stay fp32
  amp=fp16         passes in float16, with a scaled loss (needs a GPU)
  channels_last    convolutions in NHWC order
  checkpointing    keep only the inputs of the backbone's blocks, compute the rest again
  compile          torch.compile of backbones, necks and heads; compile=BACKEND for another one
  accumulate=N     the optimiser makes a step every N iterations (max_iters counts iterations)"""
NAMES = ('amp', 'channels_last', 'checkpointing', 'compile', 'accumulate')


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """mmengine's wrapper with passes in bfloat16, on any device.

    bfloat16 has the range of fp32, so that nothing is scaled and no step is left out.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Passes within are in bfloat16; gradients of unfinished accumulations are not exchanged."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def apply_options(cfg: Config, options: Sequence[str]) -> None:
    """Write options such as 'amp=bf16' into a config.

    Args:
        cfg: changed in place.
        options: words of :data:`DESCRIPTION`.
    """
    for option in options:
        name, _, value = option.partition('=')
        if name not in NAMES:
            raise SystemExit(f"--speed: '{option}' is not an option; {DESCRIPTION}")
        if name == 'amp':
            use_amp(cfg, value or 'fp16')
        elif name == 'accumulate':
            cfg.optim_wrapper.accumulative_counts = _count(value)
        else:
            _accelerate(cfg, name, value)


def use_amp(cfg: Config, dtype: str = 'fp16') -> None:
    """Automatic mixed precision; in float16 by mmengine's wrapper, which works on accelerators only."""
    if dtype not in ('bf16', 'fp16'):
        raise SystemExit(f'amp={dtype} must be amp=bf16 or amp=fp16')
    if dtype == 'fp16' and not torch.cuda.is_available():
        raise SystemExit("amp in float16 needs a GPU: mmengine's AmpOptimWrapper refuses a CPU; take --speed amp=bf16, "
                         'or leave it out')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise SystemExit(f'amp works with an optim_wrapper of type OptimWrapper, not {kind}')
    cfg.optim_wrapper.type = 'Bf16OptimWrapper' if dtype == 'bf16' else 'AmpOptimWrapper'
    if dtype == 'fp16':
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.pop('loss_scale', None)


def _accelerate(cfg: Config, name: str, value: str) -> None:
    if not is_adapted(cfg):
        raise SystemExit(f'{name} works with the models of this package; for training on the source alone, wrap yours: '
                         "model = dict(type='SourceOnly', segmentor=<your model>)")
    if value and name != 'compile':
        raise SystemExit(f"--speed: {name} takes no value ('{value}')")
    cfg.merge_from_dict({f'model.acceleration.{name}': value or True})


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise SystemExit(f"--speed: accumulate needs a number of iterations, e.g. accumulate=2, not '{value}'")
    return int(value)
