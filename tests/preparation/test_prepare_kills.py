"""prepare.py is killed at random moments; the next run completes with the results of an undisturbed one.

PREPARE_KILLS=10 in the environment tries more moments.
"""

import os
import random
import shutil
import signal
import sys
import time

import pytest
import torch

from mmseg_camix.datasets.scanning import forking_opencv
from tests.datasets.tiny import make_gta

from .preparing import digests, main, results, write_config

KILLS = int(os.environ.get('PREPARE_KILLS', '4'))
EVENTS = ('open', 'os.rename', 'os.remove', 'os.mkdir', 'os.scandir')


def copied(source, root):
    """A fresh download, whose files have the same times of change."""
    for kind in ('images', 'labels'):
        shutil.copytree(source / kind, root / 'gta' / kind)
    return root / 'gta'


def run_in_a_child(root, config, last=None):
    """Run the tool in a child that kills itself at an event of the file system; return their number, None if killed."""
    read, write = os.pipe()
    with forking_opencv():
        process = os.fork()
    if process == 0:
        torch.set_num_threads(1)
        count = [0]

        def hook(event, arguments):
            if event in EVENTS:
                if count[0] == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                count[0] += 1
        sys.addaudithook(hook)
        try:
            main('gta', root, '--config', config, '--cache', '--train-ids')
        finally:
            os.write(write, str(count[0]).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1]) == (not text)
    return int(text) if text else None


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """The download, its results and digests, and how many moments there are."""
    folder = tmp_path_factory.mktemp('undisturbed')
    config, source = write_config(folder), make_gta(folder / 'download', 5)
    assert main('gta', copied(source, folder / 'first'), '--config', config, '--cache', '--train-ids') == 0  # imports
    root = copied(source, folder)
    events = run_in_a_child(root, config)
    assert events > 50
    return source, config, results(root), digests('gta', root, config), events


def moments(events, number, seed):
    """Moments spread over the whole run, random within their part."""
    draw = random.Random(seed)
    return [int((part + draw.random()) * events / number) for part in range(number)]


@pytest.mark.parametrize('part', range(KILLS))
def test_a_kill_at_a_random_moment(undisturbed, tmp_path, part):
    source, config, expected, expected_digests, events = undisturbed
    root = copied(source, tmp_path)
    assert run_in_a_child(root, config, moments(events, KILLS, time.time_ns())[part]) is None
    assert main('gta', root, '--config', config, '--cache', '--train-ids') == 0
    assert digests('gta', root, config) == expected_digests
    assert results(root) == expected
    assert not list(tmp_path.rglob('*.partial'))
    assert main('gta', root, '--config', config, '--cache', '--train-ids') == 0


def test_kill_after_kill(undisturbed, tmp_path):
    """Each run is killed a little later than the one before, in the state that this one has left."""
    source, config, expected, expected_digests, events = undisturbed
    root = copied(source, tmp_path)
    killed = [run_in_a_child(root, config, moment) is None for moment in moments(events // 2, KILLS, 1)]
    assert killed.count(True) > KILLS // 2  # the last ones may find nothing left to do
    assert digests('gta', root, config) == expected_digests
    assert results(root) == expected
