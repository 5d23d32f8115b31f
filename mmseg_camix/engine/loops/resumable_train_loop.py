"""A training loop that resumes exactly, without reading the data of earlier iterations again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmseg_camix.datasets import PairedSampler

# Entries of the message hub, which is saved in each checkpoint.
VALIDATED, DATA_SEED = 'last_validation', 'data_seed'


class WorkerDiedError(RuntimeError):
    """Raised where a data loading process has died."""


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """mmengine's iteration-based loop; a resumed training continues as if it had not stopped.

    The stock loop reads all earlier data again, which takes hours late in a long training. An item of a paired data
    set depends only on its position, so it suffices to start at the right one. Other data sets are read again.

    The stock loop also omits the validation that was due when the training was stopped between writing a checkpoint
    and validating, even the last one. Here it is run after resuming.
    """

    def run(self) -> nn.Module:
        """Train; returns the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        try:
            with self._explained():
                self._seek()
                if self._iter > 0:
                    self._restore_record()
                    self._validate_if_due()
                while self._iter < self._max_iters and not self.stop_training:
                    self.runner.model.train()
                    self.run_iter(next(self.dataloader_iterator))
                    self._validate_if_due()
        finally:
            self._end_workers()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _seek(self) -> None:
        """Move the data to this iteration."""
        loader, hub = self.dataloader, self.runner.message_hub
        if not isinstance(loader.sampler, PairedSampler):
            for _ in range(self._iter):
                next(self.dataloader_iterator)
            return
        if self._iter > 0:
            # If the config sets no seed, each start draws another one.
            loader.sampler.seed = hub.runtime_info.get(DATA_SEED, self.runner.seed)
            loader.sampler.start = self._iter * loader.batch_size * get_world_size()
            self.dataloader_iterator = iter(loader)
        hub.update_info(DATA_SEED, loader.sampler.seed)

    def _restore_record(self) -> None:
        """Restore what mmengine's hooks recorded after the last iteration, for a validation that is due.

        After a new best result CheckpointHook writes the last checkpoint again, with the best score in it, but only
        if it has written that checkpoint itself.
        """
        self.runner.message_hub.update_info('iter', self._iter - 1)
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch:
                path = hook.file_backend.join_path(hook.out_dir, hook.filename_tmpl.format(self._iter))
                hook.last_ckpt = path if hook.file_backend.isfile(path) else None

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        runner, hub = self.runner, self.runner.message_hub
        due = self._iter >= self.val_begin and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        if runner.val_loop is None or not due or hub.runtime_info.get(VALIDATED) == self._iter:
            return
        # Set before the validation: a new best result writes a checkpoint, which must contain it.
        hub.update_info(VALIDATED, self._iter)
        runner.val_loop.run()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Replace the error of a dead data worker by one that explains it."""
        try:
            yield
        except Exception as error:  # its type depends on the moment of the death
            text = str(error).strip()
            if not text.startswith('DataLoader worker'):  # it died while handing over a batch
                text = self._dead_workers(error)
            if not re.match(r'DataLoader worker \(pid', text):
                raise
            raise WorkerDiedError(
                f'{text} A data loading process has died. Usually the system ran out of memory and killed it (see '
                '`dmesg`), or /dev/shm is too small for the batches (in Docker: --shm-size=8g). Lower '
                'train_dataloader.num_workers and prefetch_factor, or provide more memory. All checkpoints are intact: '
                '--resume continues exactly from the last one') from error

    def _dead_workers(self, error: Exception) -> str:
        """Text about workers whose death may have caused this error; empty if all are alive."""
        workers = getattr(self._batches, '_workers', [])
        try:
            for worker in workers:
                worker.join(0.1)
        except RuntimeError as signalled:  # torch notices the death during the wait
            return f'{str(signalled).strip()} {error!r}.'
        dead = ', '.join(str(worker.pid) for worker in workers if not worker.is_alive())
        return dead and f'DataLoader worker (pid(s) {dead}) exited unexpectedly: {error!r}.'

    @property
    def _batches(self) -> Iterator:
        """torch's iterator; mmengine wraps it until a training is resumed."""
        return getattr(self.dataloader_iterator, '_iterator', self.dataloader_iterator)

    def _end_workers(self) -> None:
        """Shut the workers down now rather than at garbage collection.

        At that time the queues to the workers may be closed, and torch waits five seconds for each worker.
        """
        shutdown = getattr(self._batches, '_shutdown_workers', None)
        if shutdown is not None:
            shutdown()
            self.dataloader._iterator = None  # otherwise the loader would reuse persistent workers
