"""A training loop that resumes exactly, without reading again what was read before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmseg_camix.datasets import PairedSampler

# What the message hub, which is a part of each checkpoint, remembers for the loop.
VALIDATED, DATA_SEED = 'last_validation', 'data_seed'


class WorkerDiedError(RuntimeError):
    """A process that loads data has died; says what to look at."""


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """mmengine's iteration-based loop; a resumed one goes on as if it had never stopped.

    The stock loop reads all data up to there again, which takes hours late in a long training. An item
    of a paired data set follows from its position alone, so it suffices to begin at the right one.
    Other data sets are read again as before.

    The stock loop also leaves out the validation that was due when the training was stopped between
    writing a checkpoint and validating, be it the last. Here it is made up for.
    """

    def run(self) -> nn.Module:
        """Train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        try:
            with self._explained():
                self._go_to_position()
                if self._iter > 0:
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

    def _go_to_position(self) -> None:
        """Where the data of this iteration begin."""
        loader, hub = self.dataloader, self.runner.message_hub
        if not isinstance(loader.sampler, PairedSampler):
            for _ in range(self._iter):
                next(self.dataloader_iterator)
            return
        if self._iter > 0:
            # Where the config gives no seed, each start draws another one.
            loader.sampler.seed = hub.runtime_info.get(DATA_SEED, self.runner.seed)
            loader.sampler.start = self._iter * loader.batch_size * get_world_size()
            self.dataloader_iterator = iter(loader)
        hub.update_info(DATA_SEED, loader.sampler.seed)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        runner, hub = self.runner, self.runner.message_hub
        due = self._iter >= self.val_begin and (
            self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        if runner.val_loop is None or not due or hub.runtime_info.get(VALIDATED) == self._iter:
            return
        # Before it, because a new best result is followed by a checkpoint, which shall know.
        hub.update_info(VALIDATED, self._iter)
        runner.val_loop.run()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say of a worker's death what it means."""
        try:
            yield
        except Exception as error:  # which kind depends on the moment of the death
            said = str(error).strip()
            if not said.startswith('DataLoader worker'):  # it died while it handed a batch over
                said = self._death(error)
            if not re.match(r'DataLoader worker \(pid', said):
                raise
            raise WorkerDiedError(
                f'{said} A process that loads data is gone. Mostly the system has run out of memory and '
                'ended it (`dmesg` says so), or /dev/shm is too small for the batches (in Docker: --shm-size=8g). Set '
                'train_dataloader.num_workers and prefetch_factor lower, or give it more memory. No checkpoint is '
                'harmed: start again with --resume, which goes on exactly from the last one') from error

    def _death(self, error: Exception) -> str:
        """What to say if this error came from workers that are gone, else nothing."""
        workers = getattr(self._batches, '_workers', [])
        try:
            for worker in workers:
                worker.join(0.1)
        except RuntimeError as signalled:  # torch learns of it while we wait, and says so itself
            return f'{str(signalled).strip()} {error!r}.'
        dead = ', '.join(str(worker.pid) for worker in workers if not worker.is_alive())
        return dead and f'DataLoader worker (pid(s) {dead}) broke off: {error!r}.'

    @property
    def _batches(self) -> Iterator:
        """torch's iterator, which mmengine's wraps until a training is resumed."""
        return getattr(self.dataloader_iterator, '_iterator', self.dataloader_iterator)

    def _end_workers(self) -> None:
        """Now, and not when Python finds this loop among its garbage.

        By then the queues to the workers may be gone, and torch waits five seconds for each of them: in a
        notebook or a test, where the process goes on.
        """
        end = getattr(self._batches, '_shutdown_workers', None)
        if end is not None:
            end()
            self.dataloader._iterator = None  # the loader keeps persistent workers; it shall start new ones
