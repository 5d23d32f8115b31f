"""Training that resumes exactly, and evaluation of teacher and student in one pass over the data."""

import copy
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from torch import nn

from mmseg_camix.datasets import PairedSampler

from .processes import unwrap_model

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
                if self._iter >= self._max_iters:
                    print_log(f'this training is complete ({self._iter} of {self._max_iters} iterations); raise '
                              'train_cfg.max_iters to continue it', logger='current')
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


@contextmanager
def predicting_with(model: nn.Module, network: str) -> Iterator[None]:
    """Let ``model.predict`` use 'student' or 'teacher' within the block."""
    before, model.predict_with = model.predict_with, network
    try:
        yield
    finally:
        model.predict_with = before


class _BothNetworks:
    """Validation and testing with an evaluator per network; images are read once.

    Metrics are reported as ``student/mIoU`` and ``teacher/mIoU``; plain ``mIoU`` is that of the network that the
    model predicts with. A plain segmentor is evaluated as by mmengine's loops.
    """

    def run(self) -> dict:
        """Evaluate all networks; returns all metrics."""
        model = unwrap_model(self.runner.model)
        networks = _trained_networks(model, self.runner.iter > 0)
        if not networks:
            _bind(self.evaluator, model)
            return super().run()
        self._evaluators = {name: _empty_copy(self.evaluator) for name in networks}
        for name, evaluator in self._evaluators.items():
            _bind(evaluator, *(model.network(other) for other in sorted(networks, key=lambda other: other != name)))
        phase = self.phase
        self.runner.call_hook(f'before_{phase}')
        self.runner.call_hook(f'before_{phase}_epoch')
        self.runner.model.eval()
        for index, batch in enumerate(self.dataloader):
            self._run_both(model, index, batch)
        metrics = self._metrics(model.predict_with if model.predict_with in networks else networks[0])
        self.runner.call_hook(f'after_{phase}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{phase}')
        return metrics

    @torch.no_grad()
    def _run_both(self, model: nn.Module, index: int, batch: dict) -> None:
        phase = self.phase
        self.runner.call_hook(f'before_{phase}_iter', batch_idx=index, data_batch=batch)
        outputs = None
        step = self.runner.model.val_step if phase == 'val' else self.runner.model.test_step
        # The network that predicts comes last, so that hooks (pictures) get its output.
        for name in sorted(self._evaluators, key=lambda network: network == model.predict_with):
            with predicting_with(model, name), autocast(enabled=self.fp16):
                outputs = step(copy.deepcopy(batch))
            self._evaluators[name].process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook(f'after_{phase}_iter', batch_idx=index, data_batch=batch, outputs=outputs)

    def _metrics(self, predicting: str) -> dict:
        metrics: dict = {}
        for name, evaluator in self._evaluators.items():
            print_log(f'results of the {name}:', logger='current')  # the metric logs a table for each
            values = evaluator.evaluate(len(self.dataloader.dataset))
            metrics.update({f'{name}/{key}': value for key, value in values.items()})
            if name == predicting:
                metrics.update(values)
        return metrics


def _trained_networks(model: nn.Module, in_training: bool) -> tuple[str, ...]:
    """Names of the networks to evaluate; a teacher without any step has random weights and is left out.

    In a training it is a copy of the student until its first step, which accumulation may delay.
    """
    networks = getattr(model, 'networks', ())
    if 'teacher' in networks and model.teacher.steps_made == 0 and not in_training:
        print_log('the teacher has made no step (a checkpoint of a plain segmentor?): only the student is '
                  'evaluated', logger='current', level=logging.WARNING)
        return tuple(name for name in networks if name != 'teacher')
    return networks


def _empty_copy(evaluator: Evaluator) -> Evaluator:
    evaluator_copy = Evaluator([copy.deepcopy(metric) for metric in evaluator.metrics])
    evaluator_copy.dataset_meta = evaluator.dataset_meta
    return evaluator_copy


def _bind(evaluator: Evaluator, network: nn.Module, other: nn.Module | None = None) -> None:
    """Pass the networks to metrics that run them (`UnsupervisedMetric`)."""
    for metric in evaluator.metrics:
        if hasattr(metric, 'bind'):
            metric.bind(network, other)


@LOOPS.register_module()
class TeacherStudentValLoop(_BothNetworks, ValLoop):
    """Validation of both networks during training."""

    phase = 'val'


@LOOPS.register_module()
class TeacherStudentTestLoop(_BothNetworks, TestLoop):
    """Testing of both networks."""

    phase = 'test'
