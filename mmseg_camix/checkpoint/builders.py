"""The objects that a checkpoint may contain: our builders, by their names in pickles.

Each takes the arguments in the file as data, checks them, and returns plain data or a tensor. None calls a function
or a class from the file, and none takes more memory than its arguments do.
"""
import math
import re
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError, describe
from .unpickler import Builder, Global, Placeholder, checked_keys

# torch's types of numbers, as files name them: `torch.float32`.
DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_NUMBERS_AND_TEXT = re.compile(r'[<|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,6})')
# Of the others torch has the names only: no function takes tensors of torch.bits8 or torch.uint3.
_COMPUTABLE = re.compile(r'torch\.(bool|u?int(8|16|32|64)|b?float(8_\w+|16|32|64)|complex\d+)')
# A view may repeat the elements of its storage (stride 0); copying it then takes more memory than the file.
_MOST_REPEATED = 2**16
_MOST_DIMENSIONS = 64  # of torch


def _tensor(flat: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A tensor on its storage; gradients' hooks, which a file may also name, are left out."""
    if type(flat) is not Tensor or not (_is_shape(size) and _is_shape(stride) and _is_shape((offset, ))):
        raise CheckpointError('it contains a tensor without a storage or a shape')
    if math.prod(size) > max(flat.numel(), _MOST_REPEATED):
        raise CheckpointError(f'it contains a tensor of the shape {size}, larger than its storage')
    # torch checks that the view stays inside the storage.
    return flat.as_strided(size, stride, offset + flat.storage_offset())


def _is_shape(value: Any) -> bool:
    """Whether these are few numbers of few bits; the product of thousands of large ones takes minutes."""
    return (type(value) in (tuple, list, torch.Size) and len(value) <= _MOST_DIMENSIONS
            and all(type(number) is int and 0 <= number < 2**62 for number in value))


def _typed_tensor(flat: Tensor, offset: int, size: tuple, stride: tuple, requires_grad: bool,
                  hooks: Any, dtype: Global, *_: Any) -> Tensor:
    """As `_tensor`, for the types that have no storage class of their own."""
    return _tensor(flat.view(_dtype(dtype)), offset, size, stride)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    if type(data) is not Tensor:
        raise CheckpointError('it contains a parameter that is not a tensor')
    return data


def _from_type(function: Global, cls: Any, args: tuple, state: Any) -> Any:
    """A tensor that carries attributes or has a class of its own: the tensor without them."""
    builder = _TENSORS.get(getattr(function, 'path', None))
    if builder is None or type(args) is not tuple:
        raise CheckpointError('it contains a tensor of an unknown kind')
    return builder(*args)


def _dtype(name: Any) -> torch.dtype:
    if type(name) is not Global or name.path not in DTYPES or not _COMPUTABLE.fullmatch(name.path):
        raise CheckpointError('it contains a tensor of an unknown type')
    return DTYPES[name.path]


def _ordered_dict(pairs: Any = ()) -> OrderedDict:
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in _items(pairs)):
        raise CheckpointError('it contains a dict made of something other than pairs')
    checked_keys([key for key, _ in pairs])
    return OrderedDict(pairs)


def _plain_dict(content: Any = None, *_: Any) -> dict:
    """For dicts with behaviour (Config, Counter): their content."""
    return dict(content) if isinstance(content, dict) else {}


def _default_dict(factory: Any = None) -> dict:
    return {}


def _items(value: Any) -> list | tuple | set:
    """A container that the file spells item by item; bytes and numbers would expand."""
    if type(value) not in (list, tuple, set):
        raise CheckpointError(f'it contains a container made of a {type(value).__name__}')
    return value


def _encoded(text: str, encoding: str = 'latin1') -> bytes:
    """How protocol 2 spells bytes."""
    if type(text) is not str or encoding not in ('latin1', 'latin-1', 'utf-8'):
        raise CheckpointError('it contains bytes in an unknown encoding')
    return text.encode(encoding)


def _size(numbers: Any = ()) -> torch.Size:
    if not all(type(number) is int and 0 <= number < 2**62 for number in _items(numbers)):
        raise CheckpointError('it contains a size that is not made of numbers')
    return torch.Size(numbers)


def _bytes(content: Any = b'', encoding: str = 'latin1') -> bytes:
    """bytes() and bytearray(), for which protocol 2 has text; a number as argument would allocate as many bytes."""
    return content if type(content) is bytes else _encoded(content, encoding)


def _complex(real: float, imaginary: float) -> complex:
    return complex(float(real), float(imaginary))


def _device(kind: str, index: int | None = None) -> torch.device:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise CheckpointError('it contains a device without a name')
    return torch.device(kind) if index is None else torch.device(kind, index)


def _reconstructed(cls: Any, base: Any, state: Any) -> Placeholder:
    """How protocols 0 and 1 spell an object; the machine then sets its state."""
    return Placeholder(getattr(cls, 'path', 'unknown'), (state, ))


def _array_dtype(code: str, *_: Any) -> np.dtype:
    if type(code) is not str or not _NUMBERS_AND_TEXT.fullmatch(code):
        raise CheckpointError(f'it contains an array of {describe(code)}, which is neither number nor text')
    return np.dtype(code)


def _empty_array(cls: Any, shape: tuple, code: Any) -> np.ndarray:
    """An array to be filled by the state that follows."""
    return np.empty(0, dtype=np.uint8)


def _array_scalar(dtype: np.dtype, data: Any) -> Any:
    """A NumPy scalar, as Python's number or text."""
    data = data.encode('latin1') if isinstance(data, str) else data
    if not isinstance(dtype, np.dtype) or type(data) is not bytes:
        raise CheckpointError('it contains a NumPy scalar of an unknown type')
    return np.frombuffer(data, dtype=dtype, count=1)[0].item()


def _numpy(name: str, builder: Builder) -> dict[str, Builder]:
    """NumPy 1 and 2 spell the module differently."""
    return {f'numpy.{core}.multiarray.{name}': builder for core in ('core', '_core')}


_TENSORS: dict[Any, Builder] = {
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _typed_tensor,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
}

BUILDERS: dict[str, Builder] = {
    **_TENSORS,
    'torch._tensor._rebuild_from_type_v2': _from_type,
    'torch.Size': _size,
    'torch.device': _device,
    'collections.OrderedDict': _ordered_dict,
    'collections.Counter': _plain_dict,
    'collections.defaultdict': _default_dict,
    'collections.deque': lambda items=(), *_: list(_items(items)),
    'mmengine.config.config.ConfigDict': _plain_dict,
    '_codecs.encode': _encoded,
    'builtins.bytes': _bytes,
    'builtins.bytearray': lambda *content: bytearray(_bytes(*content)),
    'builtins.set': lambda items=(): set(checked_keys(list(_items(items)))),
    'builtins.frozenset': lambda items=(): frozenset(checked_keys(list(_items(items)))),
    'builtins.complex': _complex,
    'copyreg._reconstructor': _reconstructed,
    'numpy.dtype': _array_dtype,
    **_numpy('scalar', _array_scalar),
    **_numpy('_reconstruct', _empty_array),
}
