"""Waiting for other processes."""

import time
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
