"""The numbers reported in the papers, from `reported.json`.

A row has an `id`; its printed `mIoU`, by number of classes (19, 16 or 13); the `IoU` of each class, if the paper
prints them; and the `config` and `options` that train it. `of` names the row that it repeats from another table.
`best_of` names the row with the same training: this row is then the best instead of the last iterate.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from .iou import SUBSETS

FILE = Path(__file__).with_name('reported.json')
CLASSES_OF: dict[int, tuple[str, ...]] = {len(classes): classes for classes in SUBSETS.values()}


@dataclass(frozen=True)
class Row:
    """One row of a table in a paper."""

    id: str
    name: str
    paper: str
    table: str
    title: str
    source: str
    network: str
    mIoU: dict[int, float]
    IoU: tuple[float, ...] = ()
    config: str = ''
    options: dict = field(default_factory=dict)
    method: str = ''
    of: str = ''
    best_of: str = ''
    note: str = ''

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of `IoU`, or of the largest mean."""
        return CLASSES_OF[len(self.IoU) or max(self.mIoU)]

    @property
    def per_class(self) -> dict[str, float]:
        """Class name -> printed IoU; empty if the paper prints only means."""
        return dict(zip(self.classes, self.IoU))

    def recomputed(self, size: int) -> float | None:
        """Mean of the printed IoU over 19, 16 or 13 classes; None if it lacks some of them."""
        return mean_over(self.per_class, CLASSES_OF[size])

    def format(self, value: float) -> str:
        """The number with as many decimals as the paper prints."""
        exact = all(round(number, 1) == number for number in (*self.IoU, *self.mIoU.values()))
        return f'{value:.1f}' if exact else f'{value:.2f}'

    @property
    def citation(self) -> str:
        """'CAMix, Table II'."""
        return f'{self.paper}, {self.table if self.table[0].islower() else f"Table {self.table}"}'


def mean_over(per_class: dict[str, float], classes: Iterable[str]) -> float | None:
    """Mean IoU over classes; None if one of them is missing."""
    values = [per_class.get(name) for name in classes]
    return None if any(value is None for value in values) else float(np.mean(values))


@cache
def tables() -> tuple[tuple[Row, ...], ...]:
    """All tables, paper by paper."""
    return tuple(tuple(_row(table, row) for row in table['rows']) for table in json.loads(FILE.read_text())['tables'])


@cache
def papers() -> dict[str, str]:
    """Short name -> reference."""
    return json.loads(FILE.read_text())['papers']


@cache
def rows() -> dict[str, Row]:
    """All rows by id."""
    return {row.id: row for table in tables() for row in table}


def _row(table: dict, row: dict) -> Row:
    shared = {key: table[key] for key in ('paper', 'table', 'title', 'source', 'network')}
    means = {int(size): mean for size, mean in row['mIoU'].items()}
    return Row(**shared, **{**row, 'mIoU': means, 'IoU': tuple(row.get('IoU', ()))})


def trained_row(row: Row) -> Row:
    """The row with config and options of this one: the row that it repeats, or itself."""
    return rows()[row.of] if row.of else row


def find_row(name: str, config: str) -> Row:
    """The row with an id, or that of a method and a config.

    Args:
        name: an id such as 'camix-gta-sp', or a method such as 'CAMix'.
        config: path of the trained config, which selects among the rows of a method.
    """
    if name in rows():
        return rows()[name]
    candidates = [row for row in rows().values() if row.method.lower() == name.lower()]
    if not candidates:
        methods = sorted({row.method for row in rows().values() if row.method})
        raise ValueError(f'no paper reports {name!r}; give a method ({", ".join(methods)}) or the id of a row in '
                         f'docs/results.md, such as {next(iter(rows()))!r}')
    matching = [row for row in candidates if Path(row.config).parts[-2:] == Path(config).parts[-2:]]
    matching = matching or _similar_rows(candidates, config)
    if len(matching) != 1:
        listed = ', '.join(f'{row.id} ({row.source}, {row.network})' for row in candidates)
        raise ValueError(f'{name} has several rows, and {config} is the config of none of them; give one of these ids: '
                         f'{listed}')
    return matching[0]


def _similar_rows(candidates: list[Row], config: str) -> list[Row]:
    """The rows with the source of a config such as mini_gta2cs_tiny.py, and with its kind of network."""
    name = Path(config).stem
    same_source = [row for row in candidates if f'{row.source}2cs' in name]
    same_network = [row for row in same_source if ('daformer' in name) == ('daformer' in row.network.lower())]
    return same_source if len(same_source) == 1 else same_network
