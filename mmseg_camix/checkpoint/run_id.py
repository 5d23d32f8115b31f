"""The training that a work folder and its checkpoints belong to."""

import json
from pathlib import Path
from typing import Any

from ..files import atomic_write

RUN_FILE = 'run.json'
META_KEY = 'run_id'


def read_run_id(folder: str | Path) -> str | None:
    """The id of the training that last started in a work folder; None if there is no readable `run.json`."""
    try:
        content = json.loads((Path(folder) / RUN_FILE).read_text())
    except (OSError, ValueError):
        return None
    run_id = content.get('id') if isinstance(content, dict) else None
    return run_id if isinstance(run_id, str) else None


def write_run_id(folder: str | Path, run_id: str) -> None:
    """Write `run.json`."""
    atomic_write(Path(folder) / RUN_FILE, json.dumps(dict(id=run_id)) + '\n')


def checkpoint_run_id(checkpoint: Any) -> str | None:
    """The id of the training that wrote a checkpoint; None for those of other programs and older versions."""
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    run_id = meta.get(META_KEY) if isinstance(meta, dict) else None
    return run_id if isinstance(run_id, str) else None
