"""Evaluation of teacher and student in one pass over the data."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import TestLoop, ValLoop
from mmengine.runner.amp import autocast

from ..processes import unwrap_model


@contextmanager
def predicting_with(model: torch.nn.Module, network: str) -> Iterator[None]:
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
        networks = _trained_networks(model)
        if not networks:
            return super().run()
        self._evaluators = {name: _empty_copy(self.evaluator) for name in networks}
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
    def _run_both(self, model: torch.nn.Module, index: int, batch: dict) -> None:
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


def _trained_networks(model: torch.nn.Module) -> tuple[str, ...]:
    """Names of the networks to evaluate; a teacher without any step has random weights and is left out."""
    networks = getattr(model, 'networks', ())
    if 'teacher' in networks and model.teacher.steps_made == 0:
        print_log('the teacher has made no step (a checkpoint of a plain segmentor?): only the student is '
                  'evaluated', logger='current', level=logging.WARNING)
        return tuple(name for name in networks if name != 'teacher')
    return networks


def _empty_copy(evaluator: Evaluator) -> Evaluator:
    evaluator_copy = Evaluator([copy.deepcopy(metric) for metric in evaluator.metrics])
    evaluator_copy.dataset_meta = evaluator.dataset_meta
    return evaluator_copy


@LOOPS.register_module()
class TeacherStudentValLoop(_BothNetworks, ValLoop):
    """Validation of both networks during training."""

    phase = 'val'


@LOOPS.register_module()
class TeacherStudentTestLoop(_BothNetworks, TestLoop):
    """Testing of both networks."""

    phase = 'test'
