"""Suites of trainings: rows and seeds, the protocol that makes results comparable, recorded results."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_camix.files import atomic_write

DATA_ROOT = 'data/mini'
# Entries of a config that do not change the result.
NOT_PROTOCOL = ('work_dir', 'randomness', 'launcher', 'resume', 'load_from', 'filename', 'log_level',
                'env_cfg', 'visualizer', 'vis_backends', 'default_hooks', 'log_processor', 'data_root',
                'dsp_released')  # a variable of configs, whose content is in their models


@dataclass(frozen=True)
class Row:
    """One row of a table: a config, possibly with overrides, trained with several seeds."""

    name: str
    config: str
    seeds: int = 3
    options: dict = field(default_factory=dict)
    source_val: bool = False  # also test the trained network on held-out source images
    start: str | None = None  # name of the row from whose last checkpoint, of the same seed, the training begins
    curve: bool = True  # plot the row; a plot is readable with up to about ten curves


@dataclass(frozen=True)
class Run:
    """One training of a row."""

    row: Row
    seed: int
    protocol: str  # digest of all that determines the result except the seed
    start: 'Run | None' = None  # the training from whose last checkpoint this one begins

    @property
    def folder(self) -> str:
        """Name of its work folder, below that of all trainings."""
        return f'{self.row.name.replace(" ", "_").replace("/", "_")}/{self.protocol}_seed{self.seed}'

    @property
    def key(self) -> str:
        """The key of its result."""
        return f'{self.row.name}/{self.seed}'


class Suite(NamedTuple):
    """A table of trainings."""

    title: str
    rows: list[Row]
    page: str = 'benchmark.md'  # of the documentation, with a section of the suite's name
    data_root: str = DATA_ROOT  # where the data are unless an option names another place


def load_suite(path: str | Path) -> Suite:
    """A suite: a config file with ``title``, ``rows``, and possibly ``page`` and ``data_root``."""
    suite = Config.fromfile(path)
    rows = [Row(**{key: dict(value) if key == 'options' else value for key, value in row.items()})
            for row in suite.rows]
    names = [row.name for row in rows]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f'{path}: row names must differ, but {duplicates} occur twice')
    starts = {row.name: row for row in rows if row.start is None}
    for row in rows:
        if row.start is not None and (row.start not in starts or starts[row.start].seeds < row.seeds):
            raise ValueError(f"{path}: row '{row.name}' starts from '{row.start}', which must be a row without start, "
                             f'of at least {row.seeds} seeds')
    return Suite(suite.title, rows, **{key: suite[key] for key in ('page', 'data_root') if key in suite})


def read_json(path: Path) -> dict:
    """The contents of a file; nothing where it is missing."""
    return json.loads(path.read_text()) if path.is_file() else {}


def describe_data(root: str | Path) -> str:
    """The record of drawn sets, or a digest of the names and sizes of images; the path of a missing folder."""
    root = Path(root)
    if (root / 'mini.json').is_file():
        return (root / 'mini.json').read_text()
    if not root.is_dir():
        return str(root)
    files = sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in root.rglob('*')
                   if path.suffix in ('.png', '.jpg'))
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def protocol_digest(row: Row, data_root: str | Path = DATA_ROOT) -> str:
    """A digest of everything that determines a row's results: model with defaults, data, schedule."""
    cfg = Config.fromfile(row.config)
    cfg.merge_from_dict(dict(row.options))
    content = {key: value for key, value in cfg.to_dict().items() if key not in NOT_PROTOCOL}
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'source_val_dataloader'):
        for option in ('num_workers', 'persistent_workers', 'collate_fn'):
            (content.get(loader) or {}).pop(option, None)
    content['defaults'] = getattr(MODELS.get(cfg.model.type), 'defaults', None)
    content['data'] = describe_data(data_root)
    if 'drawn_root' in cfg:  # drawings beside other data
        content['drawings'] = describe_data(cfg.drawn_root)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def runs_of(rows: list[Row], data_root: str | Path = DATA_ROOT, max_seeds: int | None = None) -> list[Run]:
    """All runs of a suite, ordered by seed, so that an interrupted suite has results for all rows."""
    digests = {row.name: protocol_digest(row, data_root) for row in rows}
    by_name = {row.name: row for row in rows}

    def run_of(row: Row, seed: int) -> Run:
        if row.start is None:
            return Run(row, seed, digests[row.name])
        start = run_of(by_name[row.start], seed)
        both = hashlib.sha256(f'{digests[row.name]} from {start.protocol}'.encode()).hexdigest()[:12]
        return Run(row, seed, both, start)

    seeds = max((row.seeds for row in rows), default=0)
    return [run_of(row, seed) for seed in range(min(seeds, max_seeds or seeds)) for row in rows if seed < row.seeds]


def read_results(path: Path) -> dict[str, dict]:
    """The content of a file of results; {} if there is none. Refuse other files, which must not be overwritten."""
    try:
        entries = read_json(path)
        for entry in entries.values():
            entry['protocol'], entry['metrics']
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not a file of results, or a damaged one ({error!r}); restore it (git checkout), or '
                         'remove it: finished trainings of the work dir are recorded again') from error
    return entries


class Results:
    """Results in a JSON file, ``{row/seed: {...}}``, which is rewritten after each run.

    Args:
        path: the file; created with the first result.
        others: files of other suites, whose results count for rows of the same name and protocol.
    """

    def __init__(self, path: str | Path, others: Iterable[Path] = ()) -> None:
        self.path = Path(path)
        self.entries = read_results(self.path)
        self._others = [read_results(other) for other in others if other != self.path]

    def get(self, run: Run) -> dict | None:
        """The result of a run; None if it is missing or was obtained under another protocol."""
        candidates = (entries.get(run.key) for entries in (self.entries, *self._others))
        return next((entry for entry in candidates if entry is not None and entry['protocol'] == run.protocol), None)

    def add(self, run: Run, entry: dict) -> None:
        """Record a result, keeping those that another process has recorded meanwhile."""
        self.entries = {**read_results(self.path), run.key: dict(protocol=run.protocol, **entry)}
        atomic_write(self.path, json.dumps({key: self.entries[key] for key in sorted(self.entries)}, indent=1) + '\n')
