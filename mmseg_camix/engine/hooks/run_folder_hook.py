"""The hook that keeps trainings in one work folder apart."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.config_text import checkpoint_config, parse_config
from mmseg_camix.checkpoint.latest import META_KEY, POINTER, RUN_FILE, checkpoint_run_id, write_run_id
from mmseg_camix.files import printable
from mmseg_camix.type_names import type_name

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

    mmseg-camix train adds it to every adapted model; ``default_hooks.run_folder=None`` removes it.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._lock: IO | None = None
        self._run_id: str | None = None
        self._resumed = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            check_resumed_config(checkpoint, runner.cfg)
            self._resumed, self._run_id = True, checkpoint_run_id(checkpoint)

    def before_train(self, runner: Runner) -> None:
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
        if self._run_id is not None:
            checkpoint['meta'][META_KEY] = self._run_id

    def after_train(self, runner: Runner) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = None


def lock_folder(folder: Path, user: str = 'training', option: str = '--work-dir') -> IO | None:
    """Lock a folder for this process until the returned file is closed or the process ends.

    The lock is not inherited by forked data workers, which may outlive a killed training by some seconds. None if
    the system or the file system has no locks.

    Args:
        folder: is created if it does not exist.
        user: kind of process, for errors.
        option: of the command line that chooses the folder, for errors.

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
        raise WorkFolderInUseError(f'{folder} is in use by another {user} ({owner}); choose another folder with '
                                   f'{option}, or wait for its end') from None
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


# Parts of a config that decide how a training proceeds, and keys within them that do not.
SECTIONS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')
IRRELEVANT = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'data_root', 'acceleration',
              'val_interval', 'val_begin', 'dynamic_intervals', 'skip_unreadable')
# Entries whose values are part of the states of optimiser and schedulers, which a checkpoint restores.
RESTORED = ('optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg', 'param_scheduler')
MAX_LISTED = 20


def check_resumed_config(checkpoint: dict, cfg: Config) -> None:
    """Refuse the checkpoint of another method; log a warning that lists all other differences.

    Does nothing if the checkpoint has no config, or if a config is more than data.

    Args:
        checkpoint: content of the resumed file.
        cfg: config of the training.

    Raises:
        CheckpointError: the checkpoint is of another method.
    """
    try:
        saved, current = checkpoint_config(checkpoint), parse_config(cfg.pretty_text)
    except CheckpointError:
        return
    methods = [type_name(config['model']) if 'type' in (config.get('model') or {}) else None
               for config in (saved, current)]
    if None not in methods and methods[0] != methods[1]:
        raise CheckpointError(
            f'the checkpoint is of a {methods[0]} training, and the config trains {methods[1]}: it cannot be resumed. '
            f'To start {methods[1]} from its weights, give it as load_from, without --resume')
    changes = list(config_changes(saved, current))
    restored = [line for line in changes if line.startswith(RESTORED)]
    _warn_of_changes('the training continues with the new values', [line for line in changes if line not in restored])
    _warn_of_changes('these new values have no effect, because the states of optimiser and schedulers are resumed too; '
                     'to train with them, give the checkpoint as load_from, without --resume', restored)


def _warn_of_changes(effect: str, changes: list[str]) -> None:
    if changes:
        more = f'\n  and {len(changes) - MAX_LISTED} more' if len(changes) > MAX_LISTED else ''
        listed = ''.join(f'\n  {printable(line)}' for line in changes[:MAX_LISTED])  # values come from a file
        print_log(f'The config differs from that of the resumed checkpoint; {effect}:{listed}{more}', 'current',
                  logging.WARNING)


def config_changes(saved: dict, current: dict) -> Iterator[str]:
    """Lines 'model.teacher.alpha: 0.99 -> 0.999' about the entries that change the course of a training."""
    for section in SECTIONS:
        yield from _changes(saved.get(section), current.get(section), section)


def _changes(old: Any, new: Any, place: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in IRRELEVANT:
                yield from _changes(old.get(key), new.get(key), f'{place}.{key}')
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new) and \
            any(isinstance(item, dict) for item in old):
        for index, items in enumerate(zip(old, new)):
            yield from _changes(*items, f'{place}[{index}]')
    elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
        yield f'{place}: {old} -> {new}'
