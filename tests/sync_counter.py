"""Detects operations that make the host wait for the device, without a device.

    with no_sync():
        op(tensors)          # raises if e.g. .item() or a boolean index is used

On CUDA, `torch.cuda.set_sync_debug_mode` detects more (synchronisation inside an operator); this detects the usual
causes on any machine. `Tensor.tolist` and `Tensor.numpy` of CPU tensors call no operator and are not detected.
"""
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

SYNCING = {
    '_local_scalar_dense', 'is_nonzero', 'equal', 'nonzero', 'nonzero_numpy', 'argwhere',
    'masked_select', 'unique_dim', 'unique_consecutive', '_unique', '_unique2', 'bincount',
    'repeat_interleave', 'allclose'
}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index'}


class SyncCounter(TorchDispatchMode):
    """Counts synchronising operations by name, in `names`."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in SYNCING or (name in INDEXING and _by_mask(args)) or _to_host(name, args, kwargs):
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


def _by_mask(args: tuple) -> bool:
    return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _to_host(name: str, args: tuple, kwargs: dict | None) -> bool:
    if name == '_to_copy':
        target = (kwargs or {}).get('device')
        return target is not None and torch.device(target).type == 'cpu' and args[0].is_cuda
    return name == 'copy_' and isinstance(args[1], torch.Tensor) \
        and args[0].device.type == 'cpu' and args[1].is_cuda


@contextmanager
def no_sync() -> Iterator[SyncCounter]:
    """Fail with the names of operations that synchronise within the block."""
    with SyncCounter() as counter:
        yield counter
    assert not counter.names, f'synchronising operations: {dict(counter.names)}'
