"""Processes that train, die by SIGKILL, and are watched meanwhile."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

TRAIN_TOOL = Path(__file__).parents[1] / 'tools' / 'train.py'
_ITERATION = re.compile(rb'Iter\(train\) \[ *(\d+)/')


class Life:
    """One process of a training, with the processes that load its data.

    Args:
        pid: of the process, which leads a process group of its own.
        log: file that its output is appended to.
    """

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log, self.born = pid, log, time.monotonic()
        self.iteration: int | None = None
        """The last one that the log names; None before the first."""
        self.code: int | None = None
        """How the process ended; None as long as it lives."""
        self._read = log.stat().st_size if log.is_file() else 0

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.born

    def look(self) -> bool:
        """Read what it has logged meanwhile; whether it is alive."""
        if self.log.is_file():
            with self.log.open('rb') as file:
                file.seek(self._read)
                new = file.read()
            # A line that is not complete is read again.
            whole = new[:new.rfind(b'\n') + 1]
            self._read += len(whole)
            if found := _ITERATION.findall(whole):
                self.iteration = int(found[-1])
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def kill(self) -> None:
        """SIGKILL for the process and all that it has started: none of them can do anything any more."""
        os.killpg(self.pid, signal.SIGKILL)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def bury(self) -> None:
        """End what is left of its group after its own end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self, count: int = 15) -> str:
        """The end of its output."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-count:])


def start(arguments: list[str], log: Path, fresh: bool) -> Life:
    """Start ``tools/train.py`` with these arguments, on the CPU, as the leader of its own process group.

    Args:
        arguments: of the tool.
        log: file that takes its output.
        fresh: whether a new interpreter begins from nothing. Otherwise it is a fork of this process,
            which has loaded the libraries already and saves the seconds that this takes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become_training(arguments, log, fresh)
    return Life(pid, log)


def _become_training(arguments: list[str], log: Path, fresh: bool) -> None:
    """In the child; never returns."""
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
        if fresh:
            os.execv(sys.executable, [sys.executable, str(TRAIN_TOOL), *arguments])
        sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1) for number in (1, 2))
        torch.set_num_threads(1)
        sys.argv = [str(TRAIN_TOOL), *arguments]
        runpy.run_path(str(TRAIN_TOOL), run_name='__main__')
        code = 0
    except SystemExit as end:
        print(end.code or '')
        code = 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
