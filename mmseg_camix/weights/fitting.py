"""Load weights into a module completely, or refuse them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_camix.files import PrintableError, printable

State = dict[str, Tensor]

# Keys under which programs store weights beside other entries, in the order of preference.
_WRAPPINGS = ('state_dict', 'model_state_dict', 'model', 'teacher', 'network')
_LISTED_NAMES = 6
# A counter that only matters for normalisation without momentum, and that old files lack.
COUNTER = 'num_batches_tracked'


class WeightsError(PrintableError):
    """Weights cannot be used; the message names the file, the reason and the remedy."""


def unwrap_weights(checkpoint: Any, source: str = 'the checkpoint') -> State:
    """Return the name -> tensor dict inside a checkpoint, without the `module.` of parallel training."""
    state = checkpoint
    for _ in range(2):
        if isinstance(state, Mapping):  # also where a tensor, such as the iteration, lies beside them
            state = next((state[key] for key in _WRAPPINGS if isinstance(state.get(key), Mapping)), state)
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        content = (first_names(state) or 'nothing') if isinstance(state, Mapping) else f'a {type(state).__name__}'
        raise WeightsError(f'{source} contains no dict of weights; it contains {content}')
    check_names(state, source)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if all(name.startswith('module.') for name in tensors):
        tensors = {name.removeprefix('module.'): value for name, value in tensors.items()}
    return tensors


def check_names(state: Mapping, source: str) -> None:
    """Raise WeightsError where the names of weights are not strings."""
    if wrong := [key for key in state if not isinstance(key, str)]:
        raise WeightsError(f'{source} names weights by numbers or objects and not by strings ({first_names(wrong)}); '
                           'it is not a checkpoint of a network')


def fit(module: nn.Module, state: State, missing_ok: Sequence[str] = (), source: str = 'the checkpoint') -> None:
    """Load `state` into `module`; where names or shapes differ, raise and load nothing.

    Args:
        module: receives the weights.
        state: weights under the module's names. Weights of linear layers fit 1x1 convolutions.
        missing_ok: prefixes of names that may be missing; they keep their values.
        source: name of the weights in errors.

    Raises:
        WeightsError: lists missing, unexpected and misshapen weights, or those that are NaN or infinite.
    """
    own = module.state_dict()
    state = {name: _as_convolution(value, own[name]) if name in own else value for name, value in state.items()}
    missing = [name for name in own if name not in state and not name.startswith(tuple(missing_ok))
               and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in own]
    shapes = [f'{name} {tuple(value.shape)} for {tuple(own[name].shape)}' for name, value in state.items()
              if name in own and value.shape != own[name].shape]
    problems = [f'{kind} {len(names)}: {first_names(names)}' for kind, names in
                (('missing', missing), ('unexpected', unexpected), ('of another shape', shapes)) if names]
    if problems:
        raise WeightsError(f'{source} does not fit {type(module).__name__}; nothing was loaded. '
                           + '; '.join(problems) + '. Is it the right variant of the network?')
    if broken := [name for name, value in state.items() if not value.isfinite().all()]:
        raise WeightsError(f'{source}: {len(broken)} weights are NaN or infinite ({first_names(broken)}); nothing was '
                           'loaded. Use an earlier checkpoint, or download the file again')
    module.load_state_dict(state, strict=False)


def _as_convolution(value: Tensor, own: Tensor) -> Tensor:
    """(O, I) as (O, I, 1, 1) where a 1x1 convolution replaces a linear layer."""
    replaced = value.dim() == 2 and own.dim() == 4 and own.shape == (*value.shape, 1, 1)
    return value[:, :, None, None] if replaced else value


def first_names(names: Iterable[Any]) -> str:
    """The first few names, and how many more there are."""
    names = [printable(name) for name in names]
    more = f' and {len(names) - _LISTED_NAMES} more' if len(names) > _LISTED_NAMES else ''
    return ', '.join(names[:_LISTED_NAMES]) + more


def fuse_parts(state: State) -> State:
    """Concatenate weights stored in parts: `name@0`, `name@1`, ... become `name`, along dimension 0."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        key, _, number = name.partition('@')
        parts.setdefault(key, {})[number] = value
    return {key: torch.cat([pieces[i] for i in sorted(pieces)]) if len(pieces) > 1 else next(iter(pieces.values()))
            for key, pieces in parts.items()}
