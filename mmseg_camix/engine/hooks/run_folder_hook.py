"""The hook that keeps trainings in one work folder apart."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import IO
from uuid import uuid4

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_camix.checkpoint.latest import POINTER
from mmseg_camix.checkpoint.run_id import META_KEY, RUN_FILE, checkpoint_run_id, write_run_id

from ..resume_checks import check_resumed_config

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.lock'


class WorkFolderInUseError(RuntimeError):
    """Raised where another training writes into the work folder."""


@HOOKS.register_module()
class RunFolderHook(Hook):
    """Prevents trainings from mixing in one work folder.

    - The folder is locked during a training: a second one stops with an error.
    - A training from iteration 0 gets a run id, in ``run.json`` and in its checkpoints, and renames the
      ``last_checkpoint`` of an earlier training: ``--resume`` then continues the new one, never the old one.
    - A resumed checkpoint of another method is refused; other differences of its config are logged.

    tools/train.py adds it to every adapted model; ``default_hooks.run_folder=None`` removes it.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._lock: IO | None = None
        self._run_id: str | None = None
        self._resumed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare config and method of a checkpoint to resume; before its weights are loaded."""
        if runner._resume:
            check_resumed_config(checkpoint, runner.cfg)
            self._resumed, self._run_id = True, checkpoint_run_id(checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Lock the folder, and mark it as that of this training."""
        if runner.rank != 0:
            return
        folder = Path(runner.work_dir)
        self._lock = lock_folder(folder)
        if not self._resumed:
            self._run_id = uuid4().hex
            _retire_pointer(folder)
        if self._run_id is not None:
            write_run_id(folder, self._run_id)
        else:  # the checkpoint has no id, and others without an id must be found when resuming
            (folder / RUN_FILE).unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the run id."""
        if self._run_id is not None:
            checkpoint['meta'][META_KEY] = self._run_id

    def after_train(self, runner: Runner) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
        self._lock = None


def lock_folder(folder: Path) -> IO | None:
    """Lock a work folder for this process until the returned file is closed or the process ends.

    The lock is not inherited by forked data workers, which may outlive a killed training by some seconds. None if
    the system or the file system has no locks.

    Raises:
        WorkFolderInUseError: another process holds the lock.
    """
    if fcntl is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        owner = file.read().strip() or 'another process'
        file.close()
        raise WorkFolderInUseError(f'{folder} is in use by another training ({owner}); choose another folder with '
                                   '--work-dir, or wait for its end') from None
    except OSError as error:
        print_log(f'{folder} cannot be locked ({error}): do not start a second training there', 'current',
                  logging.WARNING)
        file.close()
        return None
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    return file


def _retire_pointer(folder: Path) -> None:
    pointer = folder / POINTER
    if pointer.is_file():
        pointer.replace(pointer.with_name(f'{POINTER}.old'))
    if earlier := sorted(file.name for file in folder.glob('*.pth')):
        print_log(f'{folder} holds checkpoints of an earlier training ({earlier[0]}, ...). They are kept until files '
                  'with the same names replace them, and --resume ignores them; choose another folder with --work-dir '
                  'to keep both', 'current', logging.WARNING)
