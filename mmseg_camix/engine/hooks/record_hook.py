"""Metrics in a file that other tools can read."""

import json
import logging
import math
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmseg_camix.files import atomic_write


@HOOKS.register_module()
class RecordMetricsHook(Hook):
    """Writes ``<work_dir>/metrics.json``: one entry per validation, one for the last test.

    Entries are ``{"iteration": 400, "metrics": {"mIoU": 31.2, ...}}`` under ``val``, sorted and without repetition,
    also across resumed runs; ``finished`` is true once the training has reached its last iteration. The record of an
    earlier training becomes ``metrics.old.json``. If the file cannot be written (a full disk), the hook logs the
    error; the next validation writes the missing entries.
    """

    def __init__(self) -> None:
        self._entries: dict[int, dict] = {}

    def before_train(self, runner: Runner) -> None:
        file = Path(runner.work_dir) / 'metrics.json'
        if runner.iter == 0 and runner.rank == 0 and file.is_file():
            file.replace(file.with_name('metrics.old.json'))

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        record = read_record(runner.work_dir)
        training = runner._train_loop is not None and not isinstance(runner._train_loop, dict)
        iteration = runner.iter if training else 0
        self._entries[iteration] = dict(iteration=iteration, metrics=_plain(metrics))
        entries = {entry['iteration']: entry for entry in record['val']} | self._entries
        record['val'] = [entries[key] for key in sorted(entries)]
        record['finished'] = training and iteration >= runner.max_iters
        _write(runner, record)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        _write(runner, {**read_record(runner.work_dir), 'test': _plain(metrics)})


def read_record(work_dir: str | Path) -> dict:
    """The record of a work folder; an empty one if it has none."""
    file = Path(work_dir) / 'metrics.json'
    return json.loads(file.read_text()) if file.is_file() else dict(val=[], finished=False)


def _write(runner: Runner, record: dict) -> None:
    if runner.rank != 0:
        return
    path = Path(runner.work_dir) / 'metrics.json'
    try:
        atomic_write(path, json.dumps(record, indent=1) + '\n')
    except OSError as error:
        print_log(f'{path} could not be written: {error}', 'current', logging.ERROR)


def _plain(metrics: dict | None) -> dict:
    values = {key: float(value) for key, value in (metrics or {}).items()}
    return {key: value for key, value in values.items() if not math.isnan(value)}
