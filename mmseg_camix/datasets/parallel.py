"""Work on many files: in parallel, with progress, and ended at once where going on is of no use."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
from tqdm import tqdm

from ..files import CannotWrite


def run_parallel(
    task: Callable[[Any], Any], items: Iterable[Any], jobs: int, title: str
) -> Iterator[tuple[Any, Any, str | None]]:
    """Run a task on many files with a progress bar; a file that fails does not stop the others.

    Args:
        task: function of an item.
        items: paths, or what stands for one (its `str` is in the messages).
        jobs: processes.
        title: of the progress bar.

    Yields:
        The item, the task's result (None on failure), and the failure's message (None on success),
        in the order in which items are done.
    """
    items, guarded = list(items), partial(_guarded, task)
    if not items:
        return
    if jobs <= 1:
        yield from tqdm(map(guarded, items), total=len(items), desc=title, unit='file')
        return
    with forking_opencv(), ProcessPoolExecutor(jobs, initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        futures = [pool.submit(guarded, item) for item in items]
        try:
            for future in tqdm(as_completed(futures), total=len(items), desc=title, unit='file'):
                yield future.result()
        finally:  # Ctrl-C and errors end the run now, not after the queue
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def forking_opencv() -> Iterator[None]:
    """Let processes be forked within: OpenCV ends its threads before and may have them again afterwards.

    A forked process has the locks of the parent's threads, but not the threads, and would wait for them for ever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _guarded(task: Callable[[Any], Any], item: Any) -> tuple[Any, Any, str | None]:
    try:
        return item, task(item), None
    except CannotWrite:
        raise
    except Exception as error:
        message = str(error)
        if str(item) not in message:
            message = f'{item}: {type(error).__name__}: {message}'
        return item, None, message


def _start_worker(parent: int) -> None:
    # One thread of OpenCV per process: the processes are what runs in parallel.
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends the workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
