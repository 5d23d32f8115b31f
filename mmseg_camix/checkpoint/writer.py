"""Write checkpoints as plain data, whole or not at all."""
import io
from typing import Any

import torch
from mmengine.fileio import LocalBackend, get_file_backend

from ..files import atomic_write
from .plain import to_plain


def save_checkpoint(checkpoint: dict[str, Any], filename: str, file_client_args: dict | None = None,
                    backend_args: dict | None = None) -> None:
    """Write `checkpoint` as plain data; replaces mmengine's function of this name.

    Args:
        checkpoint: as `Runner.save_checkpoint` makes it; tensors are not changed.
        filename: a path, or an address that mmengine's file backends understand.
        file_client_args: mmengine's older way to choose a backend.
        backend_args: mmengine's way to choose a backend.
    """
    if file_client_args is not None and backend_args is not None:
        raise ValueError('give `backend_args` or the older `file_client_args`, not both')
    # In memory first: torch hides an error of the disk behind one of its own.
    buffer = io.BytesIO()
    torch.save(to_plain(checkpoint), buffer)
    if file_client_args and file_client_args.get('backend') != 'disk':
        backend_args = file_client_args  # they name the backend as those of its successor do
    backend = get_file_backend(filename, backend_args=backend_args)
    if isinstance(backend, LocalBackend):
        atomic_write(filename, buffer.getbuffer())
    else:
        backend.put(buffer.getvalue(), filename)
