"""State that a checkpoint of the first process lacks: buffers of the other processes, accumulated gradients."""

from __future__ import annotations

import logging

from mmengine.dist import gather_object, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

SECTION = 'ranks'


def gather_rank_states(runner: Runner) -> list[dict] | None:
    """The states of all processes, on the first one; None if all are empty. Must be called by all processes.

    A state has ``gradients`` if gradients are accumulated that the optimiser has not used yet, and ``buffers`` if the
    process is not the first: each process has its own running statistics and memory banks.
    """
    if not hasattr(runner.optim_wrapper, 'should_update'):  # several optimisers: left to mmengine
        return None
    states = gather_object(_state(runner))
    return states if states and any(states) else None


def restore_rank_state(runner: Runner, states: list[dict]) -> bool:
    """Restore the state of this process after the weights were resumed; returns whether it had gradients."""
    model = _unwrap(runner.model)
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
    model, state = _unwrap(runner.model), {}
    if not runner.optim_wrapper.should_update():
        state['gradients'] = {name: _on_host(parameter.grad) for name, parameter in model.named_parameters()
                              if parameter.grad is not None}
    if get_rank() > 0:
        trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        state['buffers'] = {name: _on_host(value) for name, value in model.state_dict().items() if name not in trained}
    return state


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to('cpu', copy=True)


def _unwrap(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
