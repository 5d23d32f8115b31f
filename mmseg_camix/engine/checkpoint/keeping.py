"""Which checkpoints are kept: the order in which mmengine's CheckpointHook writes and removes.

mmengine removes the outdated file first and writes the new one then: with `max_keep_ckpts=1`, a
kill or a full disk in between leaves nothing. Here nothing is removed before its successor is
whole, at the price of room for one more file.
"""
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...files import atomic_write
from .latest import POINTER


def save_checkpoint_with_step(self: CheckpointHook, runner: Runner, step: int,
                              meta: dict[str, Any]) -> None:
    """Save the checkpoint of `step`, point to it, then remove the oldest one too many."""
    outdated = _rotate(self, runner, step)
    name = self.filename_tmpl.format(step)
    self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
    runner.message_hub.update_info('last_ckpt', self.last_ckpt)
    runner.save_checkpoint(
        self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
        save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
        backend_args=self.backend_args, **self.args)
    if is_main_process():
        atomic_write(Path(runner.work_dir) / POINTER, self.last_ckpt.encode())
        if outdated is not None:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated))
            _remove(self.file_backend, path)


def _rotate(hook: CheckpointHook, runner: Runner, step: int) -> int | None:
    """Enter `step` into the list of kept checkpoints; returns the step that drops out."""
    kept = getattr(hook, 'keep_ckpt_ids', None)
    if hook.max_keep_ckpts <= 0 or (kept and kept[-1] == step):
        return None
    outdated = kept.popleft() if len(kept) == hook.max_keep_ckpts else None
    kept.append(step)
    # The list is a part of the checkpoint, and so entered before that is written.
    runner.message_hub.update_info('keep_ckpt_ids', list(kept))
    return outdated


def _remove(backend: Any, path: str) -> None:
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):  # DeepSpeed's checkpoints are folders
        backend.rmtree(path)


class _RemoveLater:
    """A file backend that remembers what it shall remove."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.removals: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.removals.append(path)

    rmtree = remove


def save_best_before_removing(stock: Callable) -> Callable:
    """Wrap `CheckpointHook._save_best_checkpoint`: the old best file goes last."""

    def _save_best_checkpoint(self: CheckpointHook, runner: Runner, metrics: dict) -> None:
        backend = getattr(self, 'file_backend', None)
        self.file_backend = later = _RemoveLater(backend)
        try:
            stock(self, runner, metrics)
        finally:
            self.file_backend = backend
        current = {getattr(self, 'best_ckpt_path', None),
                   *getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in later.removals:
            # In `current`: the same name again, which has been written over. And a resumed hook
            # has the path from the checkpoint, which may have come from somewhere else.
            if path not in current and Path(path).parent == Path(self.out_dir):
                _remove(backend, path)

    return _save_best_checkpoint
