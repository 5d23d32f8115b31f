"""Finds the first tensor that is not finite in a forward and a backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial

from mmengine.structures import BaseDataElement
from torch import Tensor, nn


class Probe:
    """Looks at what goes into and out of every module, and at the gradients on the way back.

    Attributes:
        forward: the first tensor that is not finite, in words; None where all are.
        backward: likewise the first gradient.
    """

    def __init__(self) -> None:
        self.forward: str | None = None
        self.backward: str | None = None
        self._last = 'the images'

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[Probe]:
        """Look within the block; modules are named as in checkpoints."""
        handles = []
        for name, module in model.named_modules():
            title = f'{name or "the model"} ({type(module).__name__})'
            handles += [module.register_forward_pre_hook(partial(self._enter, title)),
                        module.register_forward_hook(partial(self._leave, title))]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, title: str, module: nn.Module, args: tuple) -> None:
        if self.forward is None and (found := _first(args)):
            self.forward = f'an input of {title}{found}, made after {self._last}'

    def _leave(self, title: str, module: nn.Module, args: tuple, output: object) -> None:
        if self.forward is None and (found := _first(output)):
            self.forward = f'the output of {title}{found}'
        self._last = title
        for path, tensor in _tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(partial(self._gradient, f'{title}{path}'))

    def _gradient(self, title: str, gradient: Tensor) -> None:
        if self.backward is None and _not_finite(gradient):
            self.backward = f'the gradient of the output of {title}{described(gradient)}'


def described(tensor: Tensor) -> str:
    """Its shape, and how much of it is not finite."""
    nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    parts = [f'{count} {name}' for count, name in ((nan, 'NaN'), (infinite, 'infinite')) if count]
    return f' {tuple(tensor.shape)} {tensor.dtype}, {" and ".join(parts)} of {tensor.numel()}'.replace('torch.', '')


def _first(value: object) -> str | None:
    return next((f'{path}{described(tensor)}' for path, tensor in _tensors(value) if _not_finite(tensor)), None)


def _not_finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.isfinite().all())


def _tensors(value: object, path: str = '') -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) within dicts, lists, data samples and what a step consists of."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (dict, BaseDataElement)):
        for key, item in value.items():
            yield from _tensors(item, f'{path}[{key!r}]')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, f'{path}[{index}]')
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), f'{path}.{field.name}')
