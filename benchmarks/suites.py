"""Benchmark tables: which runs a suite needs, running what is missing, recording the results."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.files import atomic_write

DATA_ROOT = 'data/mini'
TRAIN_TOOL = Path(__file__).parents[1] / 'tools' / 'train.py'
TEST_TOOL = TRAIN_TOOL.with_name('test.py')
# What may differ between two runs without making them incomparable.
NOT_PROTOCOL = ('work_dir', 'randomness', 'launcher', 'resume', 'load_from', 'filename', 'log_level',
                'env_cfg', 'visualizer', 'vis_backends', 'default_hooks', 'log_processor', 'data_root',
                'dsp_released')  # a variable of configs, whose content is in their models


@dataclass(frozen=True)
class Row:
    """One row of a table: a config, possibly with overrides, run with several seeds."""

    name: str
    config: str
    seeds: int = 3
    options: dict = field(default_factory=dict)
    source_val: bool = False
    """Whether the trained network is also tested on held-out source images."""
    curve: bool = True
    """Whether the plot shows the row; a plot bears some ten of them."""


@dataclass(frozen=True)
class Run:
    """One training of a row."""

    row: Row
    seed: int
    protocol: str
    """Digest of all that determines the result but the seed."""

    @property
    def key(self) -> str:
        """Name under which the result is recorded."""
        return f'{self.row.name}/{self.seed}'


def load_suite(path: str | Path) -> tuple[str, list[Row]]:
    """A suite's title and rows, from a config file with ``title`` and ``rows``."""
    suite = Config.fromfile(path)
    rows = [Row(**{key: dict(value) if key == 'options' else value for key, value in row.items()})
            for row in suite.rows]
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{path}: row names must differ, but {twice} occur twice')
    return suite.title, rows


def protocol_digest(row: Row, data_root: str | Path = DATA_ROOT) -> str:
    """Changes when anything that determines the result changes: model, its defaults, data, schedule."""
    cfg = Config.fromfile(row.config)
    cfg.merge_from_dict(dict(row.options))
    content = {key: value for key, value in cfg.to_dict().items() if key not in NOT_PROTOCOL}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'source_val_dataloader'):
        for option in ('num_workers', 'persistent_workers', 'collate_fn'):
            (content.get(loader) or {}).pop(option, None)
    content.get('optim_wrapper', {}).get('optimizer', {}).pop('fused', None)  # rounding alone
    method = MODELS.get(cfg.model.type)
    content['defaults'] = getattr(method, 'defaults', None)
    drawn = Path(data_root) / 'mini.json'
    content['data'] = drawn.read_text() if drawn.is_file() else str(data_root)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def runs_of(rows: list[Row], data_root: str | Path = DATA_ROOT, max_seeds: int | None = None) -> list[Run]:
    """All runs of a suite, first seeds first, so that an interrupted table has all rows."""
    digests = {row.name: protocol_digest(row, data_root) for row in rows}
    most = max((row.seeds for row in rows), default=0)
    return [Run(row, seed, digests[row.name]) for seed in range(min(most, max_seeds or most))
            for row in rows if seed < row.seeds]


class Results:
    """Results in one JSON file: ``{row/seed: {...}}``, rewritten whole after each run.

    Args:
        path: the file; made with the first result.
        others: files of other suites, where a row of the same name may have been run already.
    """

    def __init__(self, path: str | Path, others: Iterable[Path] = ()) -> None:
        self.path = Path(path)
        self.entries = self._read()
        self._others = [json.loads(other.read_text()) for other in others if other != self.path]

    def _read(self) -> dict[str, dict]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}

    def get(self, run: Run) -> dict | None:
        """The result of a run, or None where it is missing or was made under another protocol."""
        found = (entries.get(run.key) for entries in (self.entries, *self._others))
        return next((entry for entry in found if entry is not None and entry['protocol'] == run.protocol), None)

    def add(self, run: Run, entry: dict) -> None:
        """Record a result, beside those that another process has recorded meanwhile."""
        self.entries = {**self._read(), run.key: dict(protocol=run.protocol, **entry)}
        ordered = {key: self.entries[key] for key in sorted(self.entries)}
        atomic_write(self.path, json.dumps(ordered, indent=1) + '\n')


def run_missing(runs: list[Run], results: Results, work_dir: Path, processes: int, threads: int,
                data_root: str) -> Iterator[tuple[Run, dict | Exception]]:
    """Run what is not recorded, several at once; yields each result as it comes."""
    missing = [run for run in runs if results.get(run) is None]
    with ThreadPoolExecutor(processes) as pool:
        futures = {pool.submit(_execute, run, work_dir, threads, data_root): run for run in missing}
        for future in as_completed(futures):
            run = futures[future]
            try:
                entry = future.result()
            except subprocess.CalledProcessError as error:
                yield run, error
                continue
            results.add(run, entry)
            yield run, entry


def _execute(run: Run, work_dir: Path, threads: int, data_root: str) -> dict:
    """Train (or go on with) one run in a process of its own and collect its numbers."""
    folder = work_dir / run.row.name.replace(' ', '_').replace('/', '_') / f'{run.protocol}_seed{run.seed}'
    folder.mkdir(parents=True, exist_ok=True)
    options = {**run.row.options, 'data_root': data_root, 'train_dataloader.num_workers': 1,
               'default_hooks.checkpoint.save_best': None}
    start = time.time()
    if not read_record(folder)['finished']:
        _call([TRAIN_TOOL, run.row.config, '--seed', run.seed, '--resume', '--work-dir', folder], options,
              threads, folder / 'train.txt')
    entry = dict(seconds=round(time.time() - start), torch=torch.__version__, threads=threads,
                 device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')
    record = read_record(folder)
    entry['curve'] = [[one['iteration'], _headline(one['metrics'])] for one in record['val']]
    entry['metrics'] = record['val'][-1]['metrics']
    if run.row.source_val:
        entry['source_val'] = _source_val(run, folder, data_root, threads)
    return entry


def _headline(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if key.endswith('mIoU')}


def _source_val(run: Run, folder: Path, data_root: str, threads: int) -> float:
    checkpoint = (folder / 'last_checkpoint').read_text().strip()
    out = folder / 'source_val'
    _call([TEST_TOOL, run.row.config, checkpoint, '--work-dir', out, '--dataloader', 'source_val_dataloader'],
          {**run.row.options, 'data_root': data_root}, threads, folder / 'source_val.txt')
    return read_record(out)['test']['mIoU']


def _call(command: list, options: dict, threads: int, log: Path) -> None:
    """Run a tool; its output goes to a file, whose end is shown if it fails."""
    settings = [f'{key}={value}' for key, value in options.items()]
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)}
    with log.open('w') as file:
        try:
            subprocess.run([sys.executable, *map(str, command), '--cfg-options', *settings], check=True,
                           stdout=file, stderr=subprocess.STDOUT, env=environment)
        except subprocess.CalledProcessError as error:
            error.add_note(f'{log} ends:\n' + '\n'.join(log.read_text().splitlines()[-15:]))
            raise
