"""A training as its work folder records it; nothing in the folder is executed."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.registry import MODELS

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.checkpoint.config_text import parse_config
from mmseg_camix.checkpoint.latest import POINTER
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.engine.resolved_config import FILE as RESOLVED
from mmseg_camix.files import PrintableError
from mmseg_camix.selection import RECOMMENDED
from mmseg_camix.type_names import type_name

from ..export.metainfo import mapping
from .logs import Logs, read_logs

NUMBER = re.compile(r'(\d+)\.(?:pth|png)$')
SCORE = 'unsupervised/'
LARGEST = 1e100  # no axis can be drawn for values near the largest float


class ReportError(PrintableError):
    """There is nothing to report on, or no place for the report; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Training:
    """Everything that a work folder holds on a training; what is missing is empty."""

    folder: Path
    config: Mapping[str, Any]
    config_name: str
    steps: list[dict[str, float]]
    """Logged values of training steps, each with 'step'."""
    validations: list[dict[str, float]]
    """Metrics of validations, each with 'step'."""
    finished: bool
    logs: Logs
    checkpoints: list[Path]
    """Periodic ones by iteration, the best one last where there is one."""
    pictures: list[Path]
    """Of training steps, by iteration."""

    @property
    def method(self) -> str:
        """Registered name of the model."""
        return name_of(self.config.get('model')) or 'unknown method'

    @property
    def is_adapted(self) -> bool:
        """Whether the target's images were trained on."""
        if not self.config:
            return True
        if self.method not in MODELS.module_dict:  # a custom method, which is not imported here, or a plain network
            return 'segmentor' in mapping(self.config.get('model'))
        return bool(getattr(MODELS.module_dict[self.method], 'defaults', {}).get('pseudo_labels'))

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint where one was kept, otherwise the last one."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def result(self) -> dict[str, float]:
        """The validation of :attr:`checkpoint`; the last one where that iteration was not validated."""
        step = iteration_of(self.checkpoint) if self.checkpoint else None
        return next((entry for entry in self.validations if entry['step'] == step),
                    self.validations[-1] if self.validations else {})

    @property
    def quality(self) -> tuple[float, float]:
        """mIoU and score of the result, for finding the best training."""
        return self.result.get('mIoU', -math.inf), self.result.get(self.score or '', -math.inf)

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Iterations and values of a metric or a logged value."""
        points = [(entry['step'], entry[key]) for entry in (*self.steps, *self.validations) if key in entry]
        return [step for step, _ in points], [value for _, value in points]

    def names(self) -> list[str]:
        """Names of all values that have a curve."""
        return list(dict.fromkeys(key for entry in (*self.steps, *self.validations) for key in entry if key != 'step'))

    @property
    def score(self) -> str | None:
        """The recorded score without labels: the recommended one, where it was recorded."""
        keys = [key for key in self.result if key.startswith(SCORE)]
        return next((key for key in keys if key.removeprefix(SCORE) == RECOMMENDED), keys[0] if keys else None)


def read_training(folder: Path) -> Training:
    """Read a work folder; what is missing or damaged in it is left out."""
    if not folder.is_dir():
        reason = 'is a file; give the work folder of a training' if folder.exists() else 'no such folder'
        raise ReportError(f'{folder}: {reason}')
    runs = sorted(path for path in folder.iterdir() if (path / 'vis_data').is_dir())
    logs = [file for run in runs for file in sorted(run.glob('*.log'))]
    config_name, config = _config(folder, runs)
    steps, recorded = _scalars(runs)
    validations, finished = _validations(folder)
    checkpoints = _checkpoints(folder)
    length = mapping(config.get('train_cfg')).get('max_iters')
    finished |= any(iteration_of(file) == length for file in checkpoints)  # recorded by a validation only
    training = Training(folder, config, config_name, steps, validations or recorded, finished, read_logs(logs),
                        checkpoints, sorted(folder.glob('live/iter_*.png'), key=iteration_of))
    if not (logs or training.config or training.validations or training.checkpoints):
        raise ReportError(f'{folder}: not the work folder of a training: it has no log, config, metrics or checkpoint')
    return training


def name_of(part: Any) -> str:
    """The type of a part of a config, '' where there is none."""
    kind = part.get('type') if isinstance(part, Mapping) else None
    return type_name(kind) if isinstance(kind, str) else ''


def iteration_of(file: Path) -> int:
    """The number at the end of a file's name, 0 without one."""
    match = NUMBER.search(file.name)
    return int(match[1]) if match else 0


def _config(folder: Path, runs: list[Path]) -> tuple[str, dict[str, Any]]:
    """Name and content of the config, as mmengine has written it; ('', {}) where it cannot be read as data.

    Runs that only tested come last: they load the network that was trained.
    """
    names = sorted(file.stem for file in folder.glob('*.py') if file.name != RESOLVED)
    latest = sorted(reversed(runs), key=lambda run: not (run / 'vis_data/scalars.json').is_file())
    files = [*(run / 'vis_data/config.py' for run in latest), *(folder / f'{name}.py' for name in names)]
    for file in files:
        try:
            return names[0] if names else '', parse_config(file.read_text(errors='replace'), str(file))
        except (OSError, CheckpointError):
            continue
    return names[0] if names else '', {}


def _scalars(runs: list[Path]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Logged steps and validations. A resumed or repeated run replaces what earlier ones logged from its start on."""
    steps: list[dict[str, float]] = []
    validations: list[dict[str, float]] = []
    for run in runs:
        entries = list(_lines(run / 'vis_data/scalars.json'))
        if not entries:
            continue
        start = entries[0]['step']
        for kept, is_step in ((steps, True), (validations, False)):
            kept[:] = [entry for entry in kept if entry['step'] < start]
            kept += [entry for entry in entries if ('iter' in entry) == is_step]
    return steps, validations


def _lines(file: Path) -> Iterator[dict[str, float]]:
    try:
        lines = file.read_text(errors='replace').splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = _numbers(json.loads(line))
        except (ValueError, RecursionError):  # half a line, of a training that was killed
            continue
        if 'step' in entry:
            yield entry


def _validations(folder: Path) -> tuple[list[dict[str, float]], bool]:
    try:
        record = read_record(folder)
        entries = [_numbers({**entry['metrics'], 'step': entry['iteration']}) for entry in record['val']]
        return [entry for entry in entries if 'step' in entry], bool(record.get('finished'))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # damaged, or of another program
        return [], False


def _numbers(entry: Any) -> dict[str, float]:
    items = entry.items() if isinstance(entry, dict) else ()
    return {str(key): value for key, value in items if isinstance(value, (int, float)) and abs(value) < LARGEST}


def _checkpoints(folder: Path) -> list[Path]:
    periodic = sorted((file for file in folder.glob('*.pth') if NUMBER.search(file.name)
                       and not file.name.startswith('best_')), key=iteration_of)
    pointer = folder / POINTER
    if pointer.is_file():  # iterations beyond it are of an earlier training
        last = iteration_of(Path(pointer.read_text(errors='replace').strip()))
        periodic = [file for file in periodic if iteration_of(file) <= last] or periodic
    return [*periodic, *sorted(folder.glob('best_*.pth'), key=lambda file: file.stat().st_mtime_ns)]
