"""Put weights into a module; nothing is left over, and nothing is left out, without being said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

# Under these keys programs keep their weights among other things, in the order of preference.
_WRAPPINGS = ('state_dict', 'model_state_dict', 'model', 'teacher', 'network')
_SHOWN = 6
# A counter that only matters for normalisation without momentum, and that old files lack.
_COUNTER = 'num_batches_tracked'


class WeightsError(ValueError):
    """Weights do not fit; says which names, and what to do."""


def unwrap_weights(checkpoint: Any, source: str = 'the checkpoint') -> State:
    """The name -> tensor dict within a checkpoint, without the `module.` of parallel training."""
    state = checkpoint
    for _ in range(2):
        if isinstance(state, Mapping):  # also if a tensor, say the iteration, lies beside them
            state = next((state[key] for key in _WRAPPINGS if isinstance(state.get(key), Mapping)), state)
    if not _is_state(state):
        keys = ', '.join(map(str, list(state)[:_SHOWN])) if isinstance(state, Mapping) else type(state).__name__
        raise WeightsError(f'{source} holds no dict of weights; it has: {keys}')
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if all(name.startswith('module.') for name in tensors):
        tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
    return tensors


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def fit(module: nn.Module, state: State, missing_ok: Sequence[str] = (), source: str = 'the checkpoint') -> None:
    """Load ``state`` into ``module``; raise where names or shapes differ, and then load nothing.

    Args:
        module: what is loaded.
        state: its weights under its own names. Weights of linear layers fit 1x1 convolutions.
        missing_ok: starts of names that may be missing; they keep their values.
        source: what the error calls the weights.

    Raises:
        WeightsError: lists what is missing, left over, and of another shape.
    """
    own = module.state_dict()
    state = {name: _as_convolution(value, own[name]) if name in own else value for name, value in state.items()}
    missing = [name for name in own if name not in state and not name.startswith(tuple(missing_ok))
               and not name.endswith(_COUNTER)]
    over = [name for name in state if name not in own]
    shapes = [f'{name} {tuple(value.shape)} for {tuple(own[name].shape)}' for name, value in state.items()
              if name in own and value.shape != own[name].shape]
    problems = [f'{what} {len(names)}: {first_names(names)}' for what, names in
                (('missing', missing), ('left over', over), ('of another shape', shapes)) if names]
    if problems:
        raise WeightsError(f'{source} does not fit {type(module).__name__}; nothing was loaded. '
                           + '; '.join(problems) + '. Is it the right variant of the network?')
    module.load_state_dict(state, strict=False)


def _as_convolution(value: Tensor, own: Tensor) -> Tensor:
    """(O, I) as (O, I, 1, 1) where a 1x1 convolution takes the place of a linear layer."""
    same = value.dim() == 2 and own.dim() == 4 and own.shape == (*value.shape, 1, 1)
    return value[:, :, None, None] if same else value


def first_names(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more


def fuse_parts(state: State, separator: str = '@') -> State:
    """Concatenate what is stored in parts: `name@0`, `name@1`, ... become `name`, along dimension 0."""
    whole = {name: value for name, value in state.items() if separator not in name}
    parts: dict[str, dict[int, Tensor]] = {}
    for name, value in state.items():
        if separator in name:
            key, number = name.split(separator)
            parts.setdefault(key, {})[int(number)] = value
    return {**whole, **{key: torch.cat([pieces[i] for i in sorted(pieces)]) for key, pieces in parts.items()}}
