"""Refusal of checkpoints of another network.

mmengine logs screens of mismatches and continues with random weights. After :func:`install`, `load_from`, `resume`,
`load_checkpoint` and ``init_cfg=dict(type='Pretrained')`` raise WeightsError instead:

- A whole model needs all its weights. Exceptions are auxiliary heads, the weights that the model declares in
  `optional_weights` (what a method adds to its networks), and those that the config names:
  ``load_partially=['decode_head.conv_seg.']`` keeps the initial values of these where they are missing or of another
  shape, for example for another number of classes.
- A part of a model, such as a backbone, needs :data:`LEAST_SHARE` of its weights: recipes add layers to pretrained
  backbones.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

import mmengine.runner
from mmengine.logging import print_log
from mmengine.model import BaseModel, BaseTTAModel, PretrainedInit, is_model_wrapper
from mmengine.runner import Runner, checkpoint, runner
from torch import Tensor, nn

from .fitting import COUNTER, WeightsError, check_names, first_names

LEAST_SHARE = 0.8
"""New layers of published recipes (norms after stages, offsets of deformable convolutions) are at most an eighth of a
backbone's weights; a backbone that is one variant deeper than the file's misses more than a fifth."""

_ALWAYS_OPTIONAL = ('data_preprocessor.', 'auxiliary_head.')
_NETWORKS = ('student.', 'teacher.model.')
_partial: ContextVar[tuple[str, ...]] = ContextVar('load_partially', default=())
_stock_load_state_dict = checkpoint.load_state_dict
_stock_load_to_model = checkpoint._load_checkpoint_to_model


def load_state_dict(module: nn.Module, state_dict: Mapping[str, Tensor], strict: bool = False,
                    logger: Any = None) -> None:
    """Load a state dict as mmengine does, and raise WeightsError if it is that of another network."""
    while is_model_wrapper(module) or isinstance(module, BaseTTAModel):
        module = module.module
    before = _versions(module)
    _stock_load_state_dict(module, state_dict, strict, 'silent')
    # Hooks may rename what is loaded, so that only the tensors themselves tell which were written.
    missing = [name for name, version in _versions(module).items() if before.get(name) == version]
    if not missing:
        return
    if isinstance(module, BaseModel):
        optional = (*_ALWAYS_OPTIONAL, *getattr(module, 'optional_weights', ()), *_partial.get())
        refused = [name for name in missing if not name.startswith(optional) and not _plain(name).startswith(optional)]
    else:
        refused = missing if len(missing) > (1 - LEAST_SHARE) * len(before) else []
    if refused:
        raise WeightsError(_refusal(module, refused, len(before), state_dict))
    print_log(f'{type(module).__name__}: {len(missing)} weights are not in the checkpoint and keep their initial '
              f'values: {first_names(missing)}', 'current')


def _versions(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Identity of each weight, and the number of times that it was written in place."""
    return {name: (id(value), value._version) for name, value in module.state_dict(keep_vars=True).items()
            if isinstance(value, Tensor) and not name.endswith(COUNTER)}


def _plain(name: str) -> str:
    """The name of a weight within the segmentor."""
    for network in _NETWORKS:
        name = name.removeprefix(network)
    return name


def _refusal(module: nn.Module, refused: Sequence[str], count: int, state: Mapping[str, Any]) -> str:
    own = module.state_dict()
    shapes = [f'{name} {tuple(value.shape)}' for name, value in state.items()
              if isinstance(value, Tensor) and name in own and value.shape != own[name].shape]
    content = f'of another shape: {first_names(shapes)}' if shapes else f'the file contains {first_names(state)}'
    remedy = ("Use a checkpoint of the same network; to load the rest only, name what may be missing: "
              f"load_partially=['{_plain(refused[0]).rpartition('.')[0]}.', ...]" if isinstance(module, BaseModel) else
              'Use weights of the same variant, or give their prefix')
    return (f'it is of another network: {len(refused)} of {count} weights of {type(module).__name__} are '
            f'missing or of another shape ({first_names(refused)}); {content}. {remedy}')


def _load_to_model(model: nn.Module, content: Any, *args: Any, **kwargs: Any) -> Any:
    """mmengine's function; raises WeightsError for what is not a state dict."""
    state = content.get('state_dict', content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f'it contains no weights, but a {type(state).__name__}: {str(state)[:40]}')
    check_names(state, 'it')
    return _stock_load_to_model(model, content, *args, **kwargs)


def _naming_file(stock: Callable, file_of: Callable[..., Any]) -> Callable:
    """Wrap a function so that its WeightsErrors begin with the name of the file."""
    @wraps(stock)
    def load(*args: Any, **kwargs: Any) -> Any:
        try:
            return stock(*args, **kwargs)
        except WeightsError as error:
            file = str(file_of(*args, **kwargs))
            raise error if file in str(error) else WeightsError(f'{file}: {error}') from None
    return load


def _allowing_partial(stock: Callable) -> Callable:
    """Runner.load_checkpoint, with the config's `load_partially`."""
    @wraps(stock)
    def load_checkpoint(self: Runner, *args: Any, **kwargs: Any) -> Any:
        names = self.cfg.get('load_partially') or ()
        names = (names,) if isinstance(names, str) else names
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
            raise WeightsError(f"load_partially={names!r} must list the beginnings of names, such as "
                               "['decode_head.conv_seg.']")
        token = _partial.set(tuple(names))
        try:
            return stock(self, *args, **kwargs)
        finally:
            _partial.reset(token)
    return load_checkpoint


@cache
def install() -> None:
    """Replace the functions by which mmengine loads checkpoints; once."""
    checkpoint.load_state_dict = load_state_dict
    for module in (checkpoint, runner):
        module._load_checkpoint_to_model = _load_to_model
    for module in (checkpoint, mmengine.runner):
        module.load_checkpoint = _naming_file(module.load_checkpoint, lambda model, filename, *_, **__: filename)
    Runner.load_checkpoint = _allowing_partial(
        _naming_file(Runner.load_checkpoint, lambda self, filename, *_, **__: filename))
    PretrainedInit.__call__ = _naming_file(PretrainedInit.__call__, lambda self, module: self.checkpoint)
