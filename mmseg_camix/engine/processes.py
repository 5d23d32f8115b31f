"""Training in several processes: launching, and synchronising running statistics."""

from __future__ import annotations

import os

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.runner import Runner
from torch import distributed, nn

from mmseg_camix.models.norms import norms_of

SHARDED = ('MMFullyShardedDataParallel', 'MMDeepSpeedEngineWrapper', 'CollosalAIModelWrapper')
_VARIABLES = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
_ADVICE = ('each process needs the whole student and teacher. Train with DDP '
           '(--launcher pytorch); for memory: --speed amp=bf16 checkpointing, a smaller batch with accumulate=N')


def prepare_launch(cfg: Config, launcher: str) -> None:
    """Choose the backend (NCCL with GPUs, gloo without) and refuse unsupported combinations.

    mmengine requires a GPU for its process group; without one the group is started here.
    """
    cfg.launcher = launcher
    if cfg.get('strategy') is not None or cfg.get('runner_type', 'Runner') != 'Runner':
        kind = (cfg.get('strategy') or {}).get('type', cfg.get('runner_type'))
        raise SystemExit(f'{kind}: FlexibleRunner and its strategies (FSDP, DeepSpeed) are not supported: {_ADVICE}')
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise SystemExit(f'without a GPU only --launcher pytorch (tools/dist_train.sh) starts several processes, not '
                         f'{launcher}')
    if cfg.get('sync_bn'):
        raise SystemExit('sync_bn needs GPUs (torch has no SyncBatchNorm for CPUs); leave it out')
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    # mmengine's default wrapper is bound to a GPU.
    cfg.model_wrapper_cfg = dict(dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False)), **(cfg.get('model_wrapper_cfg') or {}))
    if not is_distributed():
        if missing := [name for name in _VARIABLES if name not in os.environ]:
            raise SystemExit(f'--launcher pytorch expects {", ".join(missing)} in the environment, as torchrun does: '
                             'start with tools/dist_train.sh CONFIG PROCESSES')
        distributed.init_process_group('gloo')


def refuse_sharding(runner: Runner) -> None:
    """Raise if the parameters of the model are sharded."""
    kind = type(runner.model).__name__
    if kind in SHARDED or type(runner).__name__ == 'FlexibleRunner':
        raise TypeError(f'{type(runner).__name__} with {kind} is not supported: {_ADVICE}')


def average_statistics(module: nn.Module) -> None:
    """Replace the running statistics of normalisation layers by their mean over all processes, in one message."""
    buffers = [buffer for buffer in _statistics(module) if buffer.is_floating_point()]
    if not is_distributed() or not buffers:
        return
    values = torch.cat([buffer.flatten() for buffer in buffers])
    distributed.all_reduce(values)
    values /= distributed.get_world_size()
    for buffer, mean in zip(buffers, values.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(mean.view_as(buffer))


def share_statistics(module: nn.Module) -> None:
    """Copy the running statistics of the first process, which are those of the checkpoint, to all others."""
    if is_distributed():
        for buffer in _statistics(module):
            distributed.broadcast(buffer, src=0)


def _statistics(module: nn.Module) -> list[torch.Tensor]:
    return [buffer for norm in norms_of(module) for buffer in norm.buffers(recurse=False)]
