"""Findings of a data check: errors, warnings and notes, each with its remedy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mmseg_camix.files import printable

LEVELS = ('error', 'warning', 'note')
MAX_FILES = 3  # in the text


@dataclass
class Finding:
    """A fault, possibly in many files."""

    level: str  # 'error' (training or its result will be wrong), 'warning' (probably not intended), or 'note'
    part: str  # 'source', 'target', 'val', ..., or 'config'
    text: str  # what is wrong
    remedy: str  # what to do
    files: list[str] = field(default_factory=list)  # all affected files
    of: int = 0  # number of files checked

    def lines(self) -> list[str]:
        """Lines of text."""
        count = f' ({len(self.files)} of {self.of} files)' if self.of and self.files else ''
        details = self.files[:MAX_FILES]
        if len(self.files) > MAX_FILES:
            details.append(f'... and {len(self.files) - MAX_FILES} more')
        lines = [f'{self.level:>7}  {self.part}: {self.text}{count}', *(f'{"":9}  {line}' for line in details),
                 f'{"":9}> {self.remedy}']
        return [*map(printable, lines)]  # names of files are those of a download


def sort_by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first; the order within a level stays."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def count_by_level(findings: Iterable[Finding]) -> dict[str, int]:
    """Level -> number of findings."""
    levels = [finding.level for finding in findings]
    return {level: levels.count(level) for level in LEVELS}


def group_messages(level: str, part: str, pairs: Iterable[tuple[str, str]], remedy: str, of: int) -> list[Finding]:
    """A finding for each kind of message in pairs of message and file; those that differ only in numbers are alike."""
    kinds: dict[str, tuple[str, list[str]]] = {}
    for message, file in pairs:
        kinds.setdefault(re.sub(r'[\d\s,.]+', '#', message), (message, []))[1].append(file)
    return [Finding(level, part, message, remedy, files, of) for message, files in kinds.values()]
