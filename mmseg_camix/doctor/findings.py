"""What a check of data finds: errors, warnings and notes, each with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

LEVELS = ('error', 'warning', 'note')
SHOWN_FILES = 3


@dataclass
class Finding:
    """One thing that was found, possibly in many files.

    Args:
        level: 'error' (training or its result will be wrong), 'warning' (probably not meant), or 'note'.
        part: 'source', 'target', 'val', ..., or 'config'.
        text: what is wrong.
        remedy: what to do.
        files: where, as many as there are.
        of: how many files were looked at.
    """

    level: str
    part: str
    text: str
    remedy: str
    files: list[str] = field(default_factory=list)
    of: int = 0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f'level {self.level!r} is not one of {", ".join(LEVELS)}')

    def lines(self) -> list[str]:
        """As a person reads it."""
        where = f' ({len(self.files)} of {self.of} files)' if self.of and self.files else ''
        found = [f'{self.level:>7}  {self.part}: {self.text}{where}']
        found += [f'{"":9}  {file}' for file in self.files[:SHOWN_FILES]]
        if len(self.files) > SHOWN_FILES:
            found.append(f'{"":9}  ... and {len(self.files) - SHOWN_FILES} more')
        return [*found, f'{"":9}> {self.remedy}']

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first; within a level as they were found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """Level -> how many."""
    return {level: sum(finding.level == level for finding in findings) for level in LEVELS}


def grouped(level: str, part: str, pairs: Iterable[tuple[str, str]], remedy: str, of: int) -> list[Finding]:
    """One finding for each kind of message; messages that differ in numbers alone are of one kind.

    Args:
        pairs: (message, file).
        of: how many files were looked at.
    """
    kinds: dict[str, tuple[str, list[str]]] = {}
    for message, file in pairs:
        kinds.setdefault(re.sub(r'[\d\s,.]+', '#', message), (message, []))[1].append(file)
    return [Finding(level, part, message, remedy, files, of) for message, files in kinds.values()]
