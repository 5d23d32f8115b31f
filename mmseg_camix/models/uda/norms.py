"""Running statistics of normalisation layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm


def norms_of(module: nn.Module) -> list[_NormBase]:
    """The layers with statistics; looked up each time, for mmengine may exchange them (SyncBN)."""
    return [one for one in module.modules() if isinstance(one, _NormBase)]


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within the block, passes leave the running statistics of normalisation layers alone.

    Batch norm does not track them for as long; instance norm, which would turn to the input's
    statistics then, gives them no weight instead.
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
