"""Download weights and read them like any other file."""
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from .reader import MapLocation, read_checkpoint

_HASH = re.compile(r'-([a-f0-9]{8,})\.')


def load_url(url: str, model_dir: str | None = None, map_location: MapLocation = None,
             progress: bool = True, check_hash: bool = False,
             file_name: str | None = None) -> Any:
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
