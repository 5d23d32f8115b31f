"""Options of speed and memory that change how networks run, and not what they compute."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import adapter
from ..norms import unmoved_statistics

# Layers that are too small to be recomputed as one.
_ELEMENTARY = (nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def accelerate(student: nn.Module, teacher: nn.Module | None, channels_last: bool = False,
               checkpointing: bool | Sequence[str] = False, compile: bool | str = False) -> None:
    """Change the networks in place; names in checkpoints stay as they are.

    Args:
        student: a segmentor.
        teacher: its copy, if there is one.
        channels_last: keep images and weights of convolutions in the order of tensor cores (NHWC).
            Element-wise dropout then leaves out other elements, from the same seed.
        checkpointing: keep only the inputs of blocks and compute the rest again in the backward pass
            (student alone): True for all blocks of the backbone, or names of modules of the segmentor,
            e.g. ``['backbone.layer3', 'decode_head']``.
        compile: compile backbones, necks and heads: True for torch's default backend, or its name. A
            part in which something is recomputed stays as it is.
    """
    recomputed = _chosen(student, checkpointing) if checkpointing else []
    for block in recomputed:
        _exchange_class(block, _recomputing)
    for network in (student, teacher):
        if network is not None and channels_last:
            use_channels_last(network)
        if network is not None and compile:
            compile_parts(network, 'inductor' if compile is True else compile, recomputed)


def use_channels_last(segmentor: nn.Module) -> None:
    """Weights of convolutions, and the images on their way into the backbone."""
    segmentor.to(memory_format=torch.channels_last)
    segmentor.backbone.register_forward_pre_hook(_to_channels_last)
    _exchange_class(segmentor, _initialised_as_ever)


def _to_channels_last(module: nn.Module, inputs: tuple) -> tuple:
    return tuple(one.contiguous(memory_format=torch.channels_last)
                 if isinstance(one, Tensor) and one.dim() == 4 else one for one in inputs)


def compile_parts(segmentor: nn.Module, backend: str, without: Sequence[nn.Module] = ()) -> None:
    """Backbone, neck and heads, each for itself: what lies between them is mmseg's and branches on the host.

    Args:
        segmentor: whose parts.
        backend: of torch.compile.
        without: modules that must not be compiled, nor what contains them.
    """
    parts = [segmentor.backbone, *([segmentor.neck] if getattr(segmentor, 'with_neck', False) else []),
             *adapter.heads(segmentor)]
    for part in parts:
        if not any(one is module for one in part.modules() for module in without):
            _exchange_class(part, partial(_compiled, backend=backend))


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """The outermost members of lists and sequences that have layers of their own: residual and attention blocks."""
    return list(_blocks(backbone, False))


def _blocks(module: nn.Module, in_list: bool) -> Iterator[nn.Module]:
    is_list = isinstance(module, (nn.Sequential, nn.ModuleList))
    if in_list and not is_list and sum(isinstance(one, _ELEMENTARY) for one in module.modules()) > 1:
        yield module
        return
    for child in module.children():
        yield from _blocks(child, is_list)


def _chosen(segmentor: nn.Module, names: bool | Sequence[str]) -> list[nn.Module]:
    if names is not True:
        return [_named(segmentor, name) for name in names]
    if blocks := blocks_of(segmentor.backbone):
        return blocks
    raise ValueError(f'checkpointing=True finds no blocks in {type(segmentor.backbone).__name__}; name modules of the '
                     "segmentor, e.g. checkpointing=['backbone']")


def _named(segmentor: nn.Module, name: str) -> nn.Module:
    try:
        return operator.attrgetter(name)(segmentor)
    except AttributeError as error:
        children = ', '.join(child for child, _ in segmentor.named_children())
        raise ValueError(f"checkpointing: the segmentor has no module '{name}'; it has {children}, and what they "
                         'have') from error


def _exchange_class(module: nn.Module, make: Callable[[type], type]) -> None:
    """Give the module a class whose forward pass differs: unlike an attribute, it survives a deep copy."""
    module.__class__ = make(type(module))


@cache
def _initialised_as_ever(base: type) -> type:
    """Random numbers fill weights in the order of memory: from one seed, other weights would come."""
    def init_weights(self: nn.Module) -> None:
        self.to(memory_format=torch.contiguous_format)
        base.init_weights(self)
        self.to(memory_format=torch.channels_last)

    return _derived(base, init_weights=init_weights)


def _derived(base: type, **methods: Callable) -> type:
    """A subclass that answers to the same name."""
    return type(base.__name__, (base,), dict(methods, __module__=base.__module__, __doc__=base.__doc__))


@cache
def _recomputing(base: type) -> type:
    def forward(self: nn.Module, *args: object, **kwargs: object) -> object:
        inner = partial(base.forward, self)
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        return checkpoint(inner, *args, use_reentrant=False, context_fn=partial(_contexts, self), **kwargs)

    return _derived(base, forward=forward)


def _contexts(module: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """For the first pass, and for the one that repeats it: that must not move running statistics once more."""
    return nullcontext(), unmoved_statistics(module)


@cache
def _compiled(base: type, backend: str) -> type:
    compiled = torch.compile(base.forward, backend=backend)

    def forward(self: nn.Module, *args: object, **kwargs: object) -> object:
        return compiled(self, *args, **kwargs)

    return _derived(base, forward=forward)
