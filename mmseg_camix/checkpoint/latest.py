"""Find the checkpoint to go on from."""
import logging
import re
from pathlib import Path

from mmengine.logging import print_log

from .errors import CheckpointError
from .restricted import ZIP_MAGIC, is_whole_zip, read_restricted

POINTER = 'last_checkpoint'

# `iter_2000.pth`, `epoch_3.pth`; not `best_mIoU_iter_2000.pth`, which is without the optimiser.
_PERIODIC = re.compile(r'(?!best_).*\d+\.pth')


def find_latest_checkpoint(path: str) -> str | None:
    """The newest whole checkpoint of the work folder `path`; takes mmengine's function's place.

    The file that `last_checkpoint` names comes first. If it is gone or damaged, or that pointer
    is, the newest whole one is taken, with a warning.

    Raises:
        CheckpointError: there are checkpoints, none of them whole: to start over without a word
            would be the wrong answer to `resume`.
    """
    folder = Path(path)
    pointer = folder / POINTER
    named = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    if '://' in named or (named and Path(named).is_dir()):
        return named  # on another backend, or a folder of DeepSpeed: not ours to judge
    found = _periodic(folder)
    if not named and not found:
        print_log(f'No checkpoint to resume from in {folder}: the training starts anew.', 'current')
        return None
    # A work folder that was moved still holds the file, at another path.
    first = [file for file in (Path(named), folder / Path(named).name) if named and file.is_file()]
    for file in first + found:
        if is_whole(file):
            if file not in first:
                print_log(f'{_what_is_wrong(pointer, named, first)}; resuming from {file}, the '
                          'newest whole checkpoint.', 'current', logging.WARNING)
            return str(file)
    raise CheckpointError(
        f'{_what_is_wrong(pointer, named, first)}, and no other checkpoint in {folder} is whole. '
        'To start anew, remove that folder or choose another with --work-dir')


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
