"""The order in which mmengine's CheckpointHook writes and removes checkpoints.

mmengine removes the outdated file before it writes the new one: with `max_keep_ckpts=1`, a kill or a full disk in
between leaves none. Here a file is removed only after its successor is complete, which takes room for one more file.
If a file cannot be written, the training continues and tries again at the next interval.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.latest import POINTER
from mmseg_camix.files import atomic_write

from .processes import gather_rank_states


@cache
def install() -> None:
    """Patch mmengine's hook and its file of losses; once."""
    # Stock removes the outdated file before the new one is written.
    CheckpointHook.before_train = remove_only_files(CheckpointHook.before_train)
    CheckpointHook._save_checkpoint_with_step = save_checkpoint_with_step
    CheckpointHook._save_best_checkpoint = save_best_before_removing(CheckpointHook._save_best_checkpoint)
    # Stock stops the training if its file of losses does not fit on the disk.
    LocalVisBackend._dump = ignore_oserror(LocalVisBackend._dump)


def save_checkpoint_with_step(self: CheckpointHook, runner: Runner, step: int, meta: dict[str, Any]) -> None:
    """Save the checkpoint of `step`, point to it, then remove the outdated one."""
    runner.rank_states = gather_rank_states(runner)  # UDAHook puts them into the checkpoint
    restore = snapshot_state(self, runner)
    outdated = _rotate(self, runner, step)
    try:
        _save(self, runner, step, meta)
    except OSError as error:
        restore()
        count_failure(self, 'checkpoint', step, error, _is_last(self, runner, step))
        return
    finally:
        runner.rank_states = None
    reset_failures(self)
    if outdated is not None:
        _remove_file(self, _path(self, outdated))


def _save(hook: CheckpointHook, runner: Runner, step: int, meta: dict[str, Any]) -> None:
    hook.last_ckpt = _path(hook, step)
    runner.message_hub.update_info('last_ckpt', hook.last_ckpt)
    options = {key: value for key, value in hook.args.items() if key != 'max_save_failures'}
    runner.save_checkpoint(
        hook.out_dir, hook.filename_tmpl.format(step), hook.file_client_args,
        save_optimizer=hook.save_optimizer, save_param_scheduler=hook.save_param_scheduler, meta=meta,
        by_epoch=hook.by_epoch, backend_args=hook.backend_args, **options)
    if is_main_process():
        atomic_write(Path(runner.work_dir) / POINTER, hook.last_ckpt.encode())


def _path(hook: CheckpointHook, step: int) -> str:
    return hook.file_backend.join_path(hook.out_dir, hook.filename_tmpl.format(step))


def _is_last(hook: CheckpointHook, runner: Runner, step: int) -> bool:
    return step >= (runner.max_epochs if hook.by_epoch else runner.max_iters)


def _rotate(hook: CheckpointHook, runner: Runner, step: int) -> int | None:
    """Append `step` to the kept checkpoints; returns the step that is outdated by it."""
    kept = getattr(hook, 'keep_ckpt_ids', None)
    if hook.max_keep_ckpts <= 0 or (kept and kept[-1] == step):
        return None
    outdated = kept.popleft() if len(kept) == hook.max_keep_ckpts else None
    kept.append(step)
    # The checkpoint contains the list, so it is updated first. It includes the outdated step: if a kill spares that
    # file, the hook removes it after resuming.
    runner.message_hub.update_info('keep_ckpt_ids', [*([] if outdated is None else [outdated]), *kept])
    return outdated


def _remove_file(hook: CheckpointHook, path: str) -> None:
    """Remove a regular file, on the first process; never a folder."""
    if is_main_process() and hook.file_backend.isfile(path) and not Path(path).is_symlink():
        hook.file_backend.remove(path)


class _Shielded:
    """A file backend that hides some files and all folders from a hook that would remove them."""

    def __init__(self, backend: Any, files: Collection[str] = ()) -> None:
        self._backend, self._files = backend, files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def isfile(self, path: str) -> bool:
        return path not in self._files and self._backend.isfile(path)

    def isdir(self, path: str) -> bool:
        return False


def remove_only_files(stock: Callable) -> Callable:
    """Wrap `CheckpointHook.before_train`: outdated steps of a resumed checkpoint are removed, but no folders."""

    def before_train(self: CheckpointHook, runner: Runner) -> None:
        info, outdated = runner.message_hub.runtime_info, []
        if self.max_keep_ckpts > 0 and 'keep_ckpt_ids' in info:
            steps = list(info['keep_ckpt_ids'])
            outdated, info['keep_ckpt_ids'] = steps[:-self.max_keep_ckpts], steps[-self.max_keep_ckpts:]
        stock(self, runner)
        for step in outdated:
            _remove_file(self, _path(self, step))

    return before_train


def save_best_before_removing(stock: Callable) -> Callable:
    """Wrap `CheckpointHook._save_best_checkpoint`: the old best file is removed last."""

    def _save_best_checkpoint(self: CheckpointHook, runner: Runner, metrics: dict) -> None:
        backend, before = getattr(self, 'file_backend', None), _best_files(self)
        restore = snapshot_state(self, runner)
        self.file_backend = _Shielded(backend, before)
        try:
            stock(self, runner, metrics)
        except OSError as error:
            # The record of the best is restored too: it belongs to the file that exists.
            restore()
            step = runner.epoch if self.by_epoch else runner.iter
            count_failure(self, 'best checkpoint', step, error, _is_last(self, runner, step))
            return
        finally:
            self.file_backend = backend
        for path in before - _best_files(self):
            if _is_best_file(self, path):
                _remove_file(self, path)

    return _save_best_checkpoint


def _is_best_file(hook: CheckpointHook, path: str) -> bool:
    """Whether `path` is a `best_*.pth` directly in the hook's folder.

    A resumed hook has the path from the checkpoint, which is not trusted.
    """
    file = Path(path)
    return file.parent == Path(hook.out_dir) and file.match('best_*.pth')


def _best_files(hook: CheckpointHook) -> set[str]:
    """Paths of the best checkpoints so far, one per metric."""
    paths = (getattr(hook, 'best_ckpt_path', None), *getattr(hook, 'best_ckpt_path_dict', {}).values())
    return {path for path in paths if isinstance(path, str)}


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
