"""Checkpoints that cannot be written: the error is logged, and the training stops after several in a row."""
import copy
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from mmseg_camix.checkpoint import CheckpointError

MAX_FAILURES = 3
# Attributes of the hook and entries of the message hub that refer to files.
_HOOK_STATE = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt_path', 'best_ckpt_path_dict')
_HUB_STATE = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt', 'best_score')


def snapshot_state(hook: CheckpointHook, runner: Runner) -> Callable[[], None]:
    """A function that restores what the hook and the message hub record of files now."""
    info = runner.message_hub.runtime_info
    attributes = {name: copy.copy(value) for name, value in vars(hook).items() if name in _HOOK_STATE}
    record = {key: value for key, value in info.items() if key.startswith(_HUB_STATE)}

    def restore() -> None:
        vars(hook).update(attributes)
        for key in [key for key in info if key.startswith(_HUB_STATE)]:
            del info[key]
        info.update(record)

    return restore


def count_failure(hook: CheckpointHook, name: str, step: int, error: OSError, last: bool = False) -> None:
    """Log a failed write; raise if it was the last of the training or the limit is reached.

    Several failures at one step count once. `default_hooks.checkpoint.max_save_failures` sets the limit of
    consecutive failures, 3 by default.

    Args:
        hook: the hook that failed to write.
        name: 'checkpoint' or 'best checkpoint'.
        step: iteration (or epoch) of the checkpoint.
        error: why it could not be written.
        last: whether no later step will write another.

    Raises:
        CheckpointError: the training has to stop.
    """
    if getattr(hook, 'failed_step', None) != step:
        hook.failed_step, hook.save_failures = step, getattr(hook, 'save_failures', 0) + 1
    limit = hook.args.get('max_save_failures', MAX_FAILURES)
    text = (f'the {name} of {"epoch" if hook.by_epoch else "iteration"} {step} could not be written to {hook.out_dir}: '
            f'{error}. {_free_space(hook)}Newest checkpoint: {hook.last_ckpt or "none"}. ')
    if last or hook.save_failures >= limit:
        why = 'this was the last one' if last else f'{hook.save_failures} in a row have failed'
        raise CheckpointError(f'{text}The training stops, because {why}. Free disk space and start again with '
                              '--resume') from error
    print_log(f'{text}The training continues and tries again at the next interval (failure {hook.save_failures} of at '
              f'most {limit} in a row). Free disk space, or it will stop', 'current', logging.ERROR)


def reset_failures(hook: CheckpointHook) -> None:
    """Count from 0 again, after a checkpoint was written."""
    hook.save_failures, hook.failed_step = 0, None


def _free_space(hook: CheckpointHook) -> str:
    if not Path(hook.out_dir).is_dir():
        return ''
    free = f'{shutil.disk_usage(hook.out_dir).free / 2**20:.0f} MiB are free there'
    newest = Path(hook.last_ckpt or '')
    return f'{free}, the newest takes {newest.stat().st_size / 2**20:.0f} MiB. ' if newest.is_file() else f'{free}. '


def ignore_oserror(stock: Callable) -> Callable:
    """Wrap `LocalVisBackend._dump`: losses that cannot be written are logged once and left out."""
    warned: set[str] = set()

    def _dump(self: LocalVisBackend, value_dict: dict, file_path: str, file_format: str) -> None:
        try:
            stock(self, value_dict, file_path, file_format)
        except OSError as error:
            if file_path not in warned:
                warned.add(file_path)
                print_log(f'{file_path} could not be written: {error}. Lines will be missing in it until writing '
                          'succeeds again', 'current', logging.ERROR)

    return _dump
