"""The latest checkpoint of a work folder, and the training that the folder and its checkpoints belong to."""

import json
import logging
import re
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..files import atomic_write, printable
from .errors import CheckpointError
from .formats import ZIP_MAGIC, is_whole_zip, read_restricted
from .reader import read_checkpoint

POINTER = 'last_checkpoint'
RUN_FILE = 'run.json'
META_KEY = 'run_id'

# `iter_2000.pth`, `epoch_3.pth`; not `best_mIoU_iter_2000.pth`, which is without the optimiser.
_PERIODIC = re.compile(r'(?!best_).*\d+\.pth')
# Where mmengine writes checkpoints besides disks. Other addresses are downloads, which no training has written.
_BUCKET = re.compile(r'(\S+:)?(s3|petrel)://')


def find_latest_checkpoint(path: str) -> str | None:
    """The newest whole checkpoint of the work folder `path`; replaces mmengine's function.

    The file that `last_checkpoint` names comes first. If it or the pointer is missing or damaged, the newest other
    whole checkpoint is taken, with a warning. Checkpoints of an earlier training in the same folder, which have
    another run id than `run.json`, are not taken.

    Returns:
        None if the training that last started in the folder has not written a checkpoint.

    Raises:
        CheckpointError: there are checkpoints, but none can be resumed. Starting again from iteration 0 without an
            error would lose the training.
    """
    folder = Path(path)
    pointer = folder / POINTER
    named = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    try:
        if _BUCKET.match(named) or (named and Path(named).is_dir()):
            return named  # in a bucket, or a folder of DeepSpeed: not checked here
    except OSError:  # too long for a path
        named = ''
    # A work folder that was moved still holds the file, at another path.
    first = [file for file in (Path(named), folder / Path(named).name) if named and file.is_file()]
    run_id, earlier, damaged = read_run_id(folder), [], False
    for file in dict.fromkeys(first + _periodic(folder)):
        if not is_whole(file):
            damaged = True
        elif run_id is not None and _run_id_of(file) != run_id:
            earlier.append(file.name)
        else:
            if file not in first:
                print_log(f'{_what_is_wrong(pointer, named, first)}; resuming from {file}, the newest whole '
                          'checkpoint.', 'current', logging.WARNING)
            return str(file)
    if named or damaged:
        raise CheckpointError(
            f'{_what_is_wrong(pointer, named, first)}, and no other checkpoint in {folder} is whole and of the same '
            'training. To start from iteration 0, remove that folder or choose another with --work-dir')
    note = f'. Those of an earlier training there ({earlier[0]}, ...) are not resumed' if earlier else ''
    print_log(f'No checkpoint to resume from in {folder}: the training starts from iteration 0{note}', 'current',
              logging.WARNING if earlier else logging.INFO)
    return None


def _run_id_of(file: Path) -> str | None:
    try:
        return checkpoint_run_id(read_checkpoint(file, 'cpu'))
    except CheckpointError:  # of another program
        return None


def _periodic(folder: Path) -> list[Path]:
    files = [file for file in folder.glob('*.pth') if _PERIODIC.fullmatch(file.name)]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)


def _what_is_wrong(pointer: Path, named: str, first: list[Path]) -> str:
    if not named:
        return f'{pointer} is missing or empty'
    return f'{printable(named)}, which {pointer.name} names, is ' + ('damaged' if first else 'missing')


def is_whole(file: Path) -> bool:
    """Whether the checkpoint `file` has been written to its end."""
    with file.open('rb') as opened:
        is_zip = opened.read(4) == ZIP_MAGIC
        opened.seek(0)
        if is_zip:
            return is_whole_zip(opened)
        try:
            read_restricted(opened)
        except CheckpointError:
            return False
        return True


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
