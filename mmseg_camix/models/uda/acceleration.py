"""Options of speed and memory, which change how networks run but not what they compute."""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import adapter
from ..norms import unmoved_statistics

# Layers too small to be recomputed as a block.
_ELEMENTARY = (nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def accelerate(student: nn.Module, teacher: nn.Module | None, channels_last: bool = False,
               checkpointing: bool | Sequence[str] = False, compile: bool | str = False) -> None:
    """Change the networks in place; names in checkpoints stay as they are.

    Args:
        student: a segmentor.
        teacher: its copy, if there is one.
        channels_last: keep images and weights of convolutions in the memory order of tensor cores (NHWC). Element-wise
            dropout then drops other elements from the same seed.
        checkpointing: keep only the inputs of blocks and recompute the rest in the backward pass (student only): True
            for all blocks of the backbone, or names of modules of the segmentor, e.g. ``['backbone.layer3',
            'decode_head']``. Blocks with mmseg's option `with_cp` are recomputed in the same way.
        compile: compile backbones, necks and heads: True for torch's default backend, or its name. A part in which
            something is recomputed stays as it is.
    """
    recomputed = _chosen(student, checkpointing) if checkpointing else []
    inside = {module for block in recomputed for module in block.modules()}
    recomputed += [block for block in switch_off_with_cp(student) if block not in inside]
    for block in recomputed:
        _exchange_class(block, _recomputing)
    for network in (student, teacher):
        if network is not None and channels_last:
            use_channels_last(network)
        if network is not None and compile:
            compile_parts(network, 'inductor' if compile is True else compile, recomputed)


def use_channels_last(segmentor: Any) -> None:
    """Convert weights of convolutions, and images before the backbone, to NHWC."""
    segmentor.to(memory_format=torch.channels_last)
    segmentor.backbone.register_forward_pre_hook(_to_channels_last)
    _exchange_class(segmentor, _with_contiguous_init)


def _to_channels_last(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.contiguous(memory_format=torch.channels_last)
                 if isinstance(value, Tensor) and value.dim() == 4 else value for value in inputs)


def compile_parts(segmentor: Any, backend: str, without: Sequence[nn.Module] = ()) -> None:
    """Compile backbone, neck and heads separately, except those that contain a module of ``without``.

    mmseg's code between them branches on the host.
    """
    parts = [segmentor.backbone, *([segmentor.neck] if getattr(segmentor, 'with_neck', False) else []),
             *adapter.single_heads(segmentor)]
    for part in parts:
        if not any(inner is module for inner in part.modules() for module in without):
            _exchange_class(part, partial(_compiled, backend=backend))


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """Residual and attention blocks: the outermost members of lists and sequences that contain several layers."""
    def blocks(module: nn.Module, in_list: bool) -> Iterator[nn.Module]:
        is_list = isinstance(module, (nn.Sequential, nn.ModuleList))
        if in_list and not is_list and sum(isinstance(layer, _ELEMENTARY) for layer in module.modules()) > 1:
            yield module
            return
        for child in module.children():
            yield from blocks(child, is_list)

    return list(blocks(backbone, False))


def switch_off_with_cp(segmentor: nn.Module) -> list[nn.Module]:
    """Switch mmseg's option `with_cp` off; returns the blocks that had it, without the networks made of them.

    It recomputes by reentrant passes, which `backward='each'` cannot use, nor DDP where the student passes twice in a
    step; and it moves running statistics twice.
    """
    chosen: set[Any] = {module for module in segmentor.modules() if getattr(module, 'with_cp', False)}
    for module in chosen:
        module.with_cp = False
    return [module for module in segmentor.modules()
            if module in chosen and not any(inner in chosen for inner in module.modules() if inner is not module)]


def _chosen(segmentor: Any, names: bool | Sequence[str]) -> list[nn.Module]:
    if names is not True:
        return [_named(segmentor, name) for name in names or ()]
    if blocks := blocks_of(segmentor.backbone):
        return blocks
    raise ValueError(f'checkpointing=True finds no blocks in {type(segmentor.backbone).__name__}; name modules of the '
                     "segmentor, e.g. checkpointing=['backbone']")


def _named(segmentor: nn.Module, name: str) -> nn.Module:
    try:
        module: nn.Module = operator.attrgetter(name)(segmentor)
        return module
    except AttributeError as error:
        children = ', '.join(child for child, _ in segmentor.named_children())
        raise ValueError(f"checkpointing: the segmentor has no module '{name}'; choose one of {children}, or one "
                         'inside them') from error


def _exchange_class(module: nn.Module, make: Callable[[Any], type]) -> None:
    """Replace the module's class: unlike an attribute, a class survives a deep copy."""
    module.__class__ = make(type(module))


@cache
def _with_contiguous_init(base: Any) -> type:
    """Random numbers fill weights in memory order, so that NHWC weights would differ from one seed."""
    def init_weights(self: nn.Module) -> None:
        self.to(memory_format=torch.contiguous_format)
        base.init_weights(self)
        self.to(memory_format=torch.channels_last)

    return _derived(base, init_weights=init_weights)


def _derived(base: type, **methods: Callable[..., Any]) -> type:
    """A subclass with the same name."""
    return type(base.__name__, (base,), dict(methods, __module__=base.__module__, __doc__=base.__doc__))


@cache
def _recomputing(base: Any) -> type:
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> object:
        inner = partial(base.forward, self)
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        return checkpoint(inner, *args, use_reentrant=False, context_fn=partial(_contexts, self), **kwargs)

    return _derived(base, forward=forward)


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first pass, and of its repetition, which must not update running statistics again."""
    return nullcontext(), unmoved_statistics(module)


@cache
def _compiled(base: Any, backend: str) -> type:
    compiled = torch.compile(base.forward, backend=backend)

    def forward(self: nn.Module, *args: object, **kwargs: object) -> object:
        return compiled(self, *args, **kwargs)

    return _derived(base, forward=forward)
