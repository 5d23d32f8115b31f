"""Commands of this package in separate processes, with a log file and a progress bar."""

import ctypes
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

ITERATION = re.compile(r'Iter\((\w+)\) \[ *(\d+)/(\d+)\]')
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl


class CommandError(RuntimeError):
    """A command has failed; the message has its last line and its log."""


def run_logged(command: Sequence[object], log: Path, title: str, accepted: Sequence[int] = (0,)) -> int:
    """Run a Python command, with its output in a log file and a progress bar of its iterations.

    The command ends when this process is killed (on Linux), so that it can be started again.

    Args:
        command: arguments of the interpreter.
        log: file, to which is appended.
        title: of the bar.
        accepted: exit codes that are no errors.

    Returns:
        the exit code.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = log.stat().st_size if log.is_file() else 0
    with log.open('ab') as file, subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=file, stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent if sys.platform == 'linux' else None) as process:
        try:
            _follow(process, log, start, title)
        finally:
            process.terminate()
    if process.returncode not in accepted:
        lines = [line for line in _text(log, start).splitlines() if line.strip()]
        raise CommandError(f'{title}: {lines[-1].removeprefix("error: ") if lines else "the process"} (exit code '
                           f'{process.returncode}; log: {log})')
    return process.returncode


def _follow(process: subprocess.Popen, log: Path, start: int, title: str) -> None:
    """Show the iterations in the log of a running training, with the time left, until it ends."""
    running = True
    with tqdm(desc=title, unit=' iterations') as bar:
        while running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            running = process.poll() is None
            progress = ITERATION.findall(_text(log, start))
            if not progress:
                continue
            # Validations within a training are not shown.
            training = [counts for phase, *counts in progress if phase == 'train']
            iteration, total = map(int, training[-1] if training else progress[-1][1:])
            if bar.total != total:  # the time left follows from what this process trains, not from its start
                bar.reset(total)
                bar.initial = bar.n = bar.last_print_n = iteration
            bar.update(iteration - bar.n)


def _text(log: Path, start: int) -> str:
    with log.open('rb') as file:
        file.seek(start)
        return file.read().decode(errors='replace')


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent is killed; runs in the child before the command."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
