"""Checkpoints that cannot be written: the training goes on, but not for ever and not in silence."""
import copy
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from ..checkpoint.errors import CheckpointError

MAX_FAILURES = 3
# What the hook and its record in the message hub say of files.
_OF_THE_HOOK = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt_path', 'best_ckpt_path_dict')
_OF_THE_RECORD = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt', 'best_score')


def remembered(hook: CheckpointHook, runner: Runner) -> Callable[[], None]:
    """A function that gives hook and record back what they say now."""
    info = runner.message_hub.runtime_info
    own = {name: copy.copy(getattr(hook, name)) for name in _OF_THE_HOOK if hasattr(hook, name)}
    record = {key: value for key, value in info.items() if key.startswith(_OF_THE_RECORD)}

    def undo() -> None:
        for name, value in own.items():
            setattr(hook, name, value)
        for key in [key for key in info if key.startswith(_OF_THE_RECORD)]:
            del info[key]
        for key, value in record.items():
            runner.message_hub.update_info(key, value)

    return undo


def count_failure(hook: CheckpointHook, runner: Runner, what: str, error: OSError, last: bool = False) -> None:
    """Say so, and stop where it was the last one, or one too many in a row.

    `default_hooks.checkpoint.max_save_failures` says how many that is, 3 without it.

    Raises:
        CheckpointError: the training has to stop.
    """
    hook.save_failures = getattr(hook, 'save_failures', 0) + 1
    limit = hook.args.get('max_save_failures', MAX_FAILURES)
    text = (f'{what} could not be written to {hook.out_dir}: {error}. {_room(hook)}The newest checkpoint '
            f'that is there: {hook.last_ckpt or "none"}. ')
    if last or hook.save_failures >= limit:
        why = 'nothing comes after it' if last else f'it is the {hook.save_failures}. in a row to fail'
        raise CheckpointError(f'{text}The training stops, for {why}. Make room and start again with --resume'
                              ) from error
    print_log(f'{text[0].upper()}{text[1:]}The training goes on and tries again at the next interval (failure '
              f'{hook.save_failures} of at most {limit} in a row). Make room, or it will stop', 'current',
              logging.ERROR)


def forgive(hook: CheckpointHook) -> None:
    """A checkpoint was written: failures are counted anew."""
    hook.save_failures = 0


def _room(hook: CheckpointHook) -> str:
    if not Path(hook.out_dir).is_dir():
        return ''
    free = f'{shutil.disk_usage(hook.out_dir).free / 2**20:.0f} MiB are free there'
    newest = Path(hook.last_ckpt or '')
    return f'{free}, the newest takes {newest.stat().st_size / 2**20:.0f} MiB. ' if newest.is_file() else f'{free}. '



def tolerant(stock: Callable) -> Callable:
    """Wrap `LocalVisBackend._dump`: losses that cannot be written down stop no training."""
    warned: set[str] = set()

    def _dump(self: LocalVisBackend, value_dict: dict, file_path: str, file_format: str) -> None:
        try:
            stock(self, value_dict, file_path, file_format)
        except OSError as error:
            if file_path not in warned:
                warned.add(file_path)
                print_log(f'{file_path} could not be written: {error}. Its lines will be missing there as long as '
                          'that is so', 'current', logging.ERROR)

    return _dump
