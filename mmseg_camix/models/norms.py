"""Running statistics of normalisation layers."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm


def norms_of(module: nn.Module) -> list[_NormBase]:
    """Layers with statistics; not to be kept, because mmengine may exchange them (SyncBN)."""
    return [layer for layer in module.modules() if isinstance(layer, _NormBase)]


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Context in which passes leave the running statistics of normalisation layers unchanged.

    Batch norm does not track them for as long; instance norm, which would turn to the input's statistics then, gives
    them no weight instead.
    """
    tracking = [norm for norm in norms_of(module) if norm.training and norm.track_running_stats]
    momenta = [norm.momentum for norm in tracking]
    try:
        for norm in tracking:
            norm.momentum, norm.track_running_stats = 0.0, isinstance(norm, _InstanceNorm)
        yield
    finally:
        for norm, momentum in zip(tracking, momenta):
            norm.momentum, norm.track_running_stats = momentum, True


class unmoved_statistics:
    """As :func:`frozen_statistics`, for a pass that repeats another one; may be entered repeatedly.

    Layers track as before, so that autograd keeps the same tensors, but new statistics get no weight.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._before: list[tuple[_NormBase, float | None, Tensor | None]] = []

    def __enter__(self) -> None:
        self._before = [(norm, norm.momentum, _count(norm)) for norm in norms_of(self.module) if norm.training]
        for norm, _, _ in self._before:
            norm.momentum = 0.0

    def __exit__(self, *error: object) -> None:
        for norm, momentum, count in self._before:
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)


def _count(norm: _NormBase) -> Tensor | None:
    return None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
