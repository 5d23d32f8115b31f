"""Training in several processes: launching, running statistics, and the state of each process in checkpoints."""

import logging
import os

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce_params, broadcast, gather_object, get_rank, get_world_size, is_distributed
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, distributed, nn

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
    all_reduce_params([buffer for buffer in _statistics(module) if buffer.is_floating_point()], op='mean')


def share_statistics(module: nn.Module) -> None:
    """Copy the running statistics of the first process, which are those of the checkpoint, to all others."""
    for buffer in _statistics(module):
        broadcast(buffer)


def _statistics(module: nn.Module) -> list[Tensor]:
    return [buffer for norm in norms_of(module) for buffer in norm.buffers(recurse=False)]


SECTION = 'ranks'


def gather_rank_states(runner: Runner) -> list[dict] | None:
    """The states of all processes, on the first one; None if all are empty. Must be called by all processes.

    A state has what the checkpoint of the first process lacks: ``gradients`` that are accumulated and not used yet, and
    ``buffers`` (running statistics, memory banks) if the process is not the first.
    """
    if not hasattr(runner.optim_wrapper, 'should_update'):  # several optimisers: left to mmengine
        return None
    states = gather_object(_state(runner))
    return states if states and any(states) else None


def restore_rank_state(runner: Runner, states: list[dict]) -> bool:
    """Restore the state of this process after the weights were resumed; returns whether it had gradients."""
    model = unwrap_model(runner.model)
    if len(states) != get_world_size():
        print_log(f'The checkpoint was written by {len(states)} processes and is resumed by {get_world_size()}: all '
                  'start with the buffers (running statistics, memory banks) of its first process, without accumulated '
                  'gradients', 'current', logging.WARNING)
        return False
    state = states[get_rank()]
    if 'buffers' in state:
        model.load_state_dict(state['buffers'], strict=False)
    gradients = state.get('gradients', {})
    for name, parameter in model.named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter)
    if gradients:
        print_log(f'Restored the gradients accumulated before iteration {runner.iter}', 'current')
    return bool(gradients)


def _state(runner: Runner) -> dict:
    model, state = unwrap_model(runner.model), {}
    if not runner.optim_wrapper.should_update():
        state['gradients'] = {name: _on_host(parameter.grad) for name, parameter in model.named_parameters()
                              if parameter.grad is not None}
    if get_rank() > 0:
        trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        state['buffers'] = {name: _on_host(value) for name, value in model.state_dict().items() if name not in trained}
    return state


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to('cpu', copy=True)


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model without its DDP or test-time augmentation wrapper."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
