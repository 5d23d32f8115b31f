"""Open a checkpoint, from the disk or from the web, without running any of its content."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..files import printable
from .errors import CheckpointError, DamagedCheckpointError
from .formats import LARGEST_DIRECTORY, read_restricted
from .inert import without_placeholders
from .plain import from_plain

_HASH = re.compile(r'-([a-f0-9]{8,})\.')
MapLocation = str | torch.device | dict | Callable | None


def read_checkpoint(file: str | os.PathLike | BinaryIO, map_location: MapLocation = None) -> Any:
    """Read a checkpoint: one of this package, of mmengine, or a plain dict of weights.

    Objects are replaced by inert placeholders. `torch.load(weights_only=True)` is not used: it runs no code either, but
    a few hundred bytes can make it take gigabytes of memory.

    Args:
        file: a path, or an open binary file.
        map_location: a device to move the tensors to; anything else leaves them on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read in this way; says why.
    """
    if isinstance(file, (str, os.PathLike)):
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'{path} can not be found.')
        if path.suffix == '.safetensors':
            raise CheckpointError(f'{path} is a file of safetensors, which predict, export, score, convert and '
                                  'PretrainedBackbone read; give a checkpoint here: an export has a model.pth of the '
                                  'same network')
        with path.open('rb') as opened:
            return _read(opened, str(path), map_location)
    return _read(file, getattr(file, 'name', 'the checkpoint'), map_location)


def _read(file: BinaryIO, name: str, map_location: MapLocation) -> Any:
    try:
        content, left_out = without_placeholders(read_restricted(file))
        content = from_plain(content)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f'{name} was not opened: {error}. Take an earlier one, or download it again; `--resume` without a path '
            'finds the last whole one of the work folder') from None
    except CheckpointError as error:
        raise CheckpointError(
            f'{name} was not opened: {error}. Nothing in it was run. If you trust its author, save its weights as a '
            'plain dict of tensors with the program that wrote it') from None
    if left_out:
        print_log(printable(f'{name} contains objects that are not data; read without them: ' + ', '.join(left_out)),
                  'current', logging.WARNING)
    if isinstance(map_location, (str, torch.device)):
        content = _moved(content, torch.device(map_location), {})
    return content


def _moved(value: Any, device: torch.device, moved: dict[int, tuple]) -> Any:
    """`value` with its tensors on `device`; a tensor or container in several places stays one."""
    if not isinstance(value, (Tensor, dict, list, tuple)):
        return value
    if id(value) not in moved:
        # (The value is kept with the result, or its id could be reused.)
        moved[id(value)] = value, _copied(value, device, moved)
    return moved[id(value)][1]


def _copied(value: Any, device: torch.device, moved: dict[int, tuple]) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        for key in value:
            value[key] = _moved(value[key], device, moved)
        return value
    if type(value) in (list, tuple):
        return type(value)(_moved(item, device, moved) for item in value)
    return value


def check_header(path: str | os.PathLike) -> None:
    """Raise CheckpointError where the header of a safetensors file is longer than that of any network.

    It would take up to twenty-five times its size in memory.
    """
    with open(path, 'rb') as file:
        size = int.from_bytes(file.read(8), 'little')
    if size > LARGEST_DIRECTORY:
        raise CheckpointError(f'{path} was not opened: it is damaged, or no file of weights: its header takes {size} '
                              f'bytes, more than {LARGEST_DIRECTORY}')


def load_url(url: str, model_dir: str | None = None, map_location: MapLocation = None, progress: bool = True,
             check_hash: bool = False, file_name: str | None = None) -> Any:
    """Download `url` unless it is in the cache, and read it; replaces torch.hub's function.

    Args:
        url: http(s) address.
        model_dir: folder of the cache; torch.hub's by default.
        map_location: as in `read_checkpoint`.
        progress: show a progress bar.
        check_hash: compare the SHA256 of the file with the start of it in the file's name.
        file_name: name in the cache; the last part of the address by default.
    """
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (file_name or Path(urlparse(url).path).name)
    if not file.exists():
        match = _HASH.search(file.name) if check_hash else None
        # Writes beside the file and renames, so that a broken download leaves nothing.
        torch.hub.download_url_to_file(url, str(file), match and match[1], progress=progress)
    return read_checkpoint(file, map_location)
