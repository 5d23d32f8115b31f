"""Waiting for other processes, and for what they hold."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def wait_for(condition, seconds=60):
    """Return when the condition holds; fail after this time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs (on Linux); ended ones whose parent has not noticed do not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process holds the lock of a file."""
    code = ('import fcntl, sys; file = open(sys.argv[1], "a"); fcntl.lockf(file, fcntl.LOCK_EX); '
            'print("locked", flush=True); sys.stdin.read()')
    with subprocess.Popen([sys.executable, '-c', code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        yield
