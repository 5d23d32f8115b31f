"""Facts from the log files of a training: duration, versions, command lines, warnings."""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

ENTRY = re.compile(r'(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \w+ - ([A-Z]+) - (.*)')
FACT = re.compile(r'    (Python|PyTorch|TorchVision|OpenCV|MMEngine|GPU [\d,]+|seed): ([^(\n]+)')
COMMAND = re.compile(r'Command \(mmseg_camix ([^)]+)\): (.+)')  # of engine/resolved_config.py
LONGEST = 1000  # characters of a warning


@dataclass
class Logs:
    """Facts from the logs of all runs of one training, the last run's where they differ."""

    seconds: float = 0.0
    """Sum of the runs' durations, each from its first log entry to its last one."""
    facts: dict[str, str] = field(default_factory=dict)
    """Versions, device and seed."""
    commands: list[str] = field(default_factory=list)
    at_start: Counter[str] = field(default_factory=Counter)
    """Warnings and errors before the first iteration, with their counts."""
    in_training: Counter[str] = field(default_factory=Counter)
    """Those after it."""


def read_logs(files: Iterable[Path]) -> Logs:
    """The facts of these log files, in the order of the runs."""
    logs = Logs()
    for file in files:
        _read(file, logs)
    return logs


def _read(file: Path, logs: Logs) -> None:
    times: list[datetime] = []
    warnings, warning = logs.at_start, ''
    with file.open(errors='replace') as lines:
        for line in lines:
            entry = ENTRY.match(line)
            if entry is None:
                if warning and line[0].isspace() and line.strip():  # other lines belong to mmengine's own dumps
                    warning = (warning + line)[:LONGEST]
                if fact := FACT.match(line):
                    logs.facts[fact[1]] = fact[2].strip()
                continue
            if warning:
                warnings[warning.strip()] += 1
            with suppress(ValueError):  # of a damaged file
                times.append(datetime.strptime(entry[1], '%Y/%m/%d %H:%M:%S'))
            warning = entry[3][:LONGEST] + '\n' if entry[2] in ('WARNING', 'ERROR', 'CRITICAL') else ''
            if entry[3].startswith('Iter('):
                warnings = logs.in_training
            elif command := COMMAND.match(entry[3]):
                logs.facts['mmseg_camix'] = command[1]
                logs.commands.append(command[2])
    if warning:
        warnings[warning.strip()] += 1
    if times:
        logs.seconds += (times[-1] - times[0]).total_seconds()
