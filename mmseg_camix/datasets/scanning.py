"""Read the files of a data set: in parallel, with progress, resumable, and ended at once by Ctrl-C or a full disk."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import torch
from tqdm import tqdm

from ..files import CannotWrite

SAVE_SECONDS = 30.0  # what is lost at most when a scan is killed


@dataclass
class Scan:
    """What is known of the items of a data set."""

    entries: dict[str, dict]  # by the item's key, read now or by an earlier run
    failures: list[str]  # one message for each item that could not be read
    num_read: int  # items read by this run


def scan(task: Callable[[Any], dict], items: Mapping[str, Any], known: Mapping[str, dict],
         is_current: Callable[[Any, dict], bool], save: Callable[[dict[str, dict]], None], jobs: int,
         title: str) -> Scan:
    """Read the items that are new or have changed since an earlier run.

    Args:
        task: item -> its entry, which can be written as JSON.
        items: by key.
        known: entries of an earlier run.
        is_current: whether the entry of an item is still true.
        save: keeps all entries for the next run; called every `SAVE_SECONDS` and at the end.
    """
    entries = {key: known[key] for key, item in items.items() if key in known and is_current(item, known[key])}
    todo, failures = [key for key in items if key not in entries], []
    with saving(partial(save, entries), bool(todo)) as save_if_due:
        for index, entry, failure in run_parallel(task, [items[key] for key in todo], jobs, title):
            if failure is None:
                entries[todo[index]] = entry
            else:
                failures.append(failure)
            save_if_due()
    return Scan(entries, failures, len(todo))


@contextmanager
def saving(save: Callable[[], None], enabled: bool = True) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each result: it saves every `SAVE_SECONDS`. Save at the end, also after Ctrl-C."""
    last = time.monotonic()

    def save_if_due() -> None:
        nonlocal last
        if enabled and time.monotonic() - last > SAVE_SECONDS:
            save()
            last = time.monotonic()

    try:
        yield save_if_due
    finally:
        if enabled:
            save()


def run_parallel(task: Callable[[Any], Any], items: Iterable[Any], jobs: int, title: str,
                 unit: str = 'file') -> Iterator[tuple[int, Any, str | None]]:
    """Run a task on many items with a progress bar; an item that fails does not stop the others.

    Args:
        task: function of an item; `CannotWrite` ends the run.
        items: paths, or objects whose `str` names them in messages.
        jobs: processes; up to 1 runs in this one.

    Yields:
        The item's index, the task's result (None on failure), and the failure's message (None on success), in the
        order in which items are done.
    """
    items, guarded = list(items), partial(_guarded, task)
    if not items:
        return
    if jobs <= 1:
        for index, item in enumerate(tqdm(items, desc=title, unit=unit)):
            yield index, *guarded(item)
        return
    with forking_opencv(), ProcessPoolExecutor(jobs, initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        futures = {pool.submit(guarded, item): index for index, item in enumerate(items)}
        try:
            for future in tqdm(as_completed(futures), total=len(items), desc=title, unit=unit):
                yield futures[future], *future.result()
        finally:  # Ctrl-C and errors end the run now, not after the queue
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def forking_opencv() -> Iterator[None]:
    """Let processes be forked inside: OpenCV's threads end before, and may start again afterwards.

    A forked process inherits the locks of the parent's threads, but not the threads, and would wait forever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _guarded(task: Callable[[Any], Any], item: Any) -> tuple[Any, str | None]:
    try:
        return task(item), None
    except CannotWrite:
        raise
    except Exception as error:
        message = str(error)
        if str(item) not in message:
            message = f'{item}: {type(error).__name__}: {message}'
        return None, message


def _start_worker(parent: int) -> None:
    cv2.setNumThreads(1)  # the processes run in parallel
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    """End this worker when its parent is killed; it would wait for work forever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
