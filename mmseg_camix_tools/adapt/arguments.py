"""Durations, classes, and the whole request, as parsed from the command line."""

import hashlib
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_camix.datasets.encodings import ENCODINGS, as_tuple

UNITS = dict(h=3600.0, m=60.0, s=1.0)
Classes = list[tuple[str, tuple[int, ...]]]  # names with their numbers in the label files


@dataclass(frozen=True)
class Request:
    """Source, target and limits of an adaptation."""

    config: str  # file of a config
    target: Path  # folder of unlabelled images
    out: Path  # folder of all results
    method: str = 'DAFormer'
    checkpoint: Path | None = None  # of the plain network; None trains one on the source first
    seconds: float = 3600.0  # of everything together
    iterations: int | None = None  # of the adaptation, instead of `seconds`
    source: Path | None = None  # folder of labelled images instead of the config's training data
    classes: Classes | None = None  # of the labels of `source`
    few_labels: Path | None = None  # folder of a few labelled target images
    source_free: bool = False  # whether no labelled source is used
    drawn: bool = False  # whether the source is drawn first, into `out`
    options: dict[str, Any] | None = None  # --cfg-options

    def identity(self) -> dict[str, Any]:
        """The settings that a repeated command must share; plain data."""
        files = {name: _fingerprint(path) for name, path in (('config', self.config), ('checkpoint', self.checkpoint))}
        return dict(
            **files, target=str(self.target.resolve()), method=self.method,
            time=None if self.iterations else self.seconds, iterations=self.iterations,
            source=self.source and str(self.source.resolve()), source_free=self.source_free or None,
            few_labels=self.few_labels and str(self.few_labels.resolve()), classes=self.classes and repr(self.classes),
            options=repr(sorted((self.options or {}).items())))


def _fingerprint(path: str | Path | None) -> str | None:
    """A file's absolute path, size, and the digest of its first mebibyte."""
    if path is None:
        return None
    file = Path(path).resolve()
    with file.open('rb') as opened:
        return f'{file} ({file.stat().st_size} bytes, {hashlib.sha256(opened.read(2**20)).hexdigest()[:12]})'


def duration(text: str) -> float:
    """Seconds of '2h', '90m', '1h30m' or '45s', as an argparse type."""
    match = re.fullmatch(r'(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?', text.strip().lower())
    seconds = sum(float(number) * unit for number, unit in zip(match.groups(), UNITS.values()) if number) \
        if match else 0.0
    if seconds <= 0:
        raise ArgumentTypeError(f"'{text}' is not a duration; write 2h, 90m, 1h30m or 45s")
    return seconds


def format_duration(seconds: float) -> str:
    """'2 h 05 min', '3 min 20 s' or '45 s'."""
    whole = round(seconds)
    if whole >= 3600:
        return f'{whole // 3600} h {whole % 3600 // 60:02} min'
    return f'{whole // 60} min {whole % 60:02} s' if whole >= 60 else f'{whole} s'


def class_list(items: Sequence[str]) -> Classes:
    """The classes of ``--classes``: the name of an encoding, NAME=NUMBER[,NUMBER] for each, or only names.

    Raises:
        ArgumentTypeError: an item is neither.
    """
    if len(items) == 1 and items[0] in ENCODINGS:
        encoding = ENCODINGS[items[0]]
        if encoding.bits != 8:
            raise ArgumentTypeError(f'--classes {items[0]}: labels of {encoding.bits} bits need a config '
                                    '(docs/own_data.md)')
        return [(name, as_tuple(encoding.raw_ids[name])) for name in encoding.classes]
    if len(items) < 2:
        raise ArgumentTypeError('--classes needs at least two classes, NAME=NUMBER of the label files, or one of '
                                + ', '.join(name for name, encoding in ENCODINGS.items() if encoding.bits == 8))
    classes = []
    for index, item in enumerate(items):
        name, separator, numbers = item.partition('=')
        if not name or (separator and not re.fullmatch(r'\d+(,\d+)*', numbers)):
            raise ArgumentTypeError(f"--classes: '{item}' must be NAME=NUMBER or NAME=NUMBER,NUMBER")
        classes.append((name, tuple(map(int, numbers.split(','))) if separator else (index,)))
    return classes
