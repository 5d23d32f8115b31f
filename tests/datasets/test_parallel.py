"""Work in parallel: results and failures, whoever has used OpenCV before, and workers that do not outlive a kill."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_camix.datasets.scanning import forking_opencv, run_parallel
from mmseg_camix.files import CannotWrite
from mmseg_camix_tools.preparation.prior_counting import count_labels
from tests.waiting import is_alive, wait_for


def double(item):
    if item == 'bad':
        raise ValueError('no number')
    if item == 'full':
        raise CannotWrite('disk')
    return 2 * item


@pytest.mark.parametrize('jobs', [1, 3])
def test_each_item_comes_back_with_its_result_or_message(jobs):
    results = {index: result for index, *result in run_parallel(double, [1, 'bad', 5], jobs, 'title')}
    assert results == {0: [2, None], 1: [None, 'bad: ValueError: no number'], 2: [10, None]}
    assert list(run_parallel(double, [], jobs, 'title')) == []
    with pytest.raises(CannotWrite, match='disk'):
        list(run_parallel(double, ['full', *range(50)], jobs, 'title'))


def after_opencv(work):
    """Whether some work ends in a process in which OpenCV has threads."""
    with forking_opencv():
        process = os.fork()
    if process == 0:
        os.setsid()
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 5)
        work()
        os._exit(0 if cv2.getNumThreads() == 4 else 3)  # as it was
    for _ in range(60 * 50):
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def read(item):
    return np.full((6, 9), item, np.uint8)


@pytest.mark.parametrize('work', [
    lambda: list(run_parallel(double, range(4), 2, 'title')),
    lambda: count_labels(range(4), read, 'abcd', (6, 9), jobs=2, chunk=1),
], ids=['run_parallel', 'count_labels'])
def test_workers_are_forked_from_a_process_that_has_used_opencv(work):
    assert after_opencv(work)


def stop(item, folder):
    """A task that writes its process id and never ends."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='looks at processes as Linux shows them')
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    with forking_opencv():
        process = os.fork()
    if process == 0:
        list(run_parallel(partial(stop, folder=tmp_path), ['a', 'b'], 2, 'never'))
        os._exit(0)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    wait_for(lambda: not any(map(is_alive, workers)), seconds=10)
