"""Open a checkpoint without running anything that it says."""
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mmengine.logging import print_log
from mmengine.utils import digit_version
from torch import Tensor

from .errors import CheckpointError, DamagedCheckpointError
from .inert import without_placeholders
from .plain import from_plain
from .restricted import read_restricted, refuse_damaged

MapLocation = str | torch.device | dict | Callable | None

# Before, torch.load(weights_only=True) could be made to run code: up to 2.5 by CVE-2025-32434,
# up to 2.9 by CVE-2026-24747. Our own reader then reads everything.
TORCH_IS_SAFE = digit_version(torch.__version__) >= digit_version('2.10.0')


def read_checkpoint(file: str | os.PathLike | BinaryIO,
                    map_location: MapLocation = None) -> Any:
    """Read a checkpoint: one of ours, of mmengine, or a plain dict of weights.

    torch's own restricted reader is tried first; it opens whatever is plain data. What it refuses
    goes through ours, which puts inert placeholders in the place of objects.

    Args:
        file: a path, or an open binary file.
        map_location: as in `torch.load`. Files that need our reader are read to the CPU, and
            moved from there if this is a device.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read in this way; says why.
    """
    if isinstance(file, (str, os.PathLike)):
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'{path} can not be found.')
        with path.open('rb') as opened:
            return _read(opened, str(path), path, map_location)
    return _read(file, getattr(file, 'name', 'the checkpoint'), file, map_location)


def _read(file: BinaryIO, name: str, source: Any, map_location: MapLocation) -> Any:
    try:
        refuse_damaged(file)
        try:
            return from_plain(_read_plain(source, map_location))
        except _NotOpened:
            file.seek(0)
        content, left_out = without_placeholders(read_restricted(file))
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f'{name} was not opened: {error}. Take an earlier one, or download it again; `--resume` without a path '
            'finds the last whole one of the work folder') from None
    except CheckpointError as error:
        # Without torch's own error before it, whose advice is to read without restriction.
        raise CheckpointError(
            f'{name} was not opened: {error}. Nothing in it was run. If you trust who made it, '
            'save its weights as a plain dict of tensors with the program that wrote it') from None
    if left_out:
        print_log(f'{name} holds objects that are not data; read without them: '
                  + ', '.join(left_out), 'current', logging.WARNING)
    if isinstance(map_location, (str, torch.device)):
        content = _moved(content, torch.device(map_location), {})
    return from_plain(content)


class _NotOpened(Exception):
    """torch's restricted reader refused the file, or is not to be trusted."""


def _read_plain(source: Any, map_location: MapLocation) -> Any:
    if not TORCH_IS_SAFE:
        raise _NotOpened
    # What other libraries allow-list for torch.load counts for them, not for us.
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with warnings.catch_warnings():
            # It warns of what it then refuses; our reader says more.
            warnings.simplefilter('ignore')
            return torch.load(source, map_location=map_location, weights_only=True)
    except Exception as error:
        raise _NotOpened from error
    finally:
        torch.serialization.add_safe_globals(allowed)


def _moved(value: Any, device: torch.device, seen: dict[int, Any]) -> Any:
    """`value` with its tensors on `device`; what was one tensor stays one."""
    if isinstance(value, Tensor):
        # (The tensor is kept with the result, or its id could be reused.)
        if id(value) not in seen:
            seen[id(value)] = value, value.to(device)
        return seen[id(value)][1]
    if isinstance(value, dict):
        for key in value:
            value[key] = _moved(value[key], device, seen)
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device, seen) for item in value)
    return value
