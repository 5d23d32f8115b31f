"""What a checkpoint of the first process lacks: the buffers of other processes, gradients half way."""

from __future__ import annotations

import logging

from mmengine.dist import gather_object, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

SECTION = 'ranks'


def gather_rank_states(runner: Runner) -> list[dict] | None:
    """The states of all processes, on the first one; all must call it. None where there is nothing.

    A state has ``gradients``, if gradients are accumulated over several iterations and the optimiser
    has yet to use them, and ``buffers``, if this process is not the first: statistics of
    normalisation layers and memory banks, of which each process has its own.
    """
    if not hasattr(runner.optim_wrapper, 'should_update'):  # several optimisers: mmengine's own way
        return None
    states = gather_object(_state(runner))
    return states if states and any(states) else None


def restore_rank_state(runner: Runner, states: list[dict]) -> bool:
    """Put this process's state back, after the weights were resumed; whether gradients came with it."""
    model = _bare(runner.model)
    if len(states) != get_world_size():
        print_log(f'The checkpoint comes from {len(states)} processes and goes on in {get_world_size()}: all begin '
                  'with the buffers (normalisation statistics, memory banks) of its first process, without '
                  'gradients of an unfinished accumulation', 'current', logging.WARNING)
        return False
    state = states[get_rank()]
    if 'buffers' in state:
        model.load_state_dict(state['buffers'], strict=False)
    gradients = state.get('gradients', {})
    for name, parameter in model.named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter)
    if gradients:
        print_log(f'Gradients accumulated before iteration {runner.iter} were in the checkpoint: none is lost',
                  'current')
    return bool(gradients)


def _state(runner: Runner) -> dict:
    model, state = _bare(runner.model), {}
    if not runner.optim_wrapper.should_update():
        state['gradients'] = {name: _on_host(parameter.grad) for name, parameter in model.named_parameters()
                              if parameter.grad is not None}
    if get_rank() > 0:
        state['buffers'] = {name: _on_host(buffer) for name, buffer in _saved_buffers(model).items()}
    return state


def _saved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that are part of checkpoints, by name."""
    return {f'{prefix}.{name}' if prefix else name: buffer
            for prefix, module in model.named_modules() for name, buffer in module._buffers.items()
            if buffer is not None and name not in module._non_persistent_buffers_set}


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to('cpu', copy=True)


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
