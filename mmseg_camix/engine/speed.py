"""Options for speed and memory: ``--speed amp=bf16 channels_last``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmseg_camix.models.uda.backward import MODES

from .config import is_adapted

DESCRIPTION = """options for speed and memory:
  amp=bf16         forward and backward in bfloat16; weights and losses stay fp32
  amp=fp16         forward and backward in float16 with a scaled loss (needs a GPU)
  channels_last    convolutions in NHWC memory order
  backward=each    a backward pass after each view: one view's activations in memory at a time
  checkpointing    keep only the inputs of the backbone's blocks and recompute the rest
  compile          torch.compile of backbones, necks and heads; compile=BACKEND selects the backend
  accumulate=N     one optimiser step every N iterations (max_iters counts iterations)"""
NAMES = ('amp', 'channels_last', 'backward', 'checkpointing', 'compile', 'accumulate')


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """mmengine's wrapper with forward passes in bfloat16, on any device.

    bfloat16 has the range of fp32, so no loss scale is needed.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run passes in bfloat16; gradients of unfinished accumulations are not exchanged between processes."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def apply_options(cfg: Config, options: Sequence[str]) -> None:
    """Write options such as 'amp=bf16' into a config.

    Args:
        cfg: changed in place.
        options: as listed in :data:`DESCRIPTION`.
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
            _set_model_option(cfg, name, value)


def use_amp(cfg: Config, dtype: str = 'fp16') -> None:
    """Enable automatic mixed precision; float16 uses mmengine's wrapper, which needs an accelerator."""
    if dtype not in ('bf16', 'fp16'):
        raise SystemExit(f'amp={dtype} must be amp=bf16 or amp=fp16')
    if dtype == 'fp16' and not torch.cuda.is_available():
        raise SystemExit("amp=fp16 needs a GPU (mmengine's AmpOptimWrapper refuses a CPU); use --speed amp=bf16")
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise SystemExit(f'amp works with an optim_wrapper of type OptimWrapper, not {kind}')
    cfg.optim_wrapper.type = 'Bf16OptimWrapper' if dtype == 'bf16' else 'AmpOptimWrapper'
    if dtype == 'fp16':
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.pop('loss_scale', None)


def _set_model_option(cfg: Config, name: str, value: str) -> None:
    if not is_adapted(cfg):
        raise SystemExit(f'{name} works with models of this package; to train on the source only, wrap yours: '
                         "model = dict(type='SourceOnly', segmentor=<your model>)")
    if name == 'backward':
        if value not in MODES:
            raise SystemExit(f"--speed: backward='{value}' must be one of {', '.join(MODES)}")
        cfg.model.backward = value
        return
    if value and name != 'compile':
        raise SystemExit(f"--speed: {name} takes no value ('{value}')")
    cfg.merge_from_dict({f'model.acceleration.{name}': value or True})


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise SystemExit(f"--speed: accumulate needs a number of iterations, e.g. accumulate=2, not '{value}'")
    return int(value)
