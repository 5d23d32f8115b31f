"""Find the checkpoint to go on from."""
import logging
import re
from pathlib import Path

from mmengine.logging import print_log

from .errors import CheckpointError
from .formats import ZIP_MAGIC, is_whole_zip, read_restricted
from .reader import read_checkpoint
from .run_id import checkpoint_run_id, read_run_id

POINTER = 'last_checkpoint'

# `iter_2000.pth`, `epoch_3.pth`; not `best_mIoU_iter_2000.pth`, which is without the optimiser.
_PERIODIC = re.compile(r'(?!best_).*\d+\.pth')


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
    if '://' in named or (named and Path(named).is_dir()):
        return named  # on another backend, or a folder of DeepSpeed: not checked here
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
    return f'{named}, which {pointer.name} names, is ' + ('damaged' if first else 'missing')


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
