"""The soak test in small: a training that is killed, also inside the writing of a checkpoint."""

import json
import os
import signal
import time
from dataclasses import replace

import mmengine.runner.runner as runner_module
import pytest

from benchmarks import lives, soak
from benchmarks.soak import Soak
from benchmarks.soak_record import Kill, Record, Settings, SoakError, summary
from mmseg_camix import files
from mmseg_camix.engine.hooks import uda_hook
from tests.world import config

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
# Its first kinds are save, step and start.
SEED = 1


@pytest.fixture
def settings(world, tmp_path, monkeypatch):
    """A training of ten iterations with dropout, whose writes take long enough to be met."""
    monkeypatch.setattr(runner_module, 'collect_env', dict)
    fsync = os.fsync
    monkeypatch.setattr(files.os, 'fsync', lambda descriptor: (time.sleep(0.1), fsync(descriptor)))
    cfg = config(world, tmp_path / 'x', 'DACS', None, 10, 4, randomness=dict(seed=0), custom_hooks=[
        dict(type='UDAHook'), dict(type='RecordMetricsHook')])
    cfg.train_cfg.type = 'ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=2, save_best='mIoU', rule='greater')
    cfg.dump(str(tmp_path / 'cfg.py'))
    return Settings((str(tmp_path / 'cfg.py'),), iterations=10, interval=2, kills=3, in_save=0.4, fresh=0, seed=SEED)


def test_killed_three_times_and_the_same_in_the_end(settings, tmp_path):
    said = []
    record = Soak(settings, tmp_path / 'soak', said.append).run()
    assert [kill.kind for kill in record.kills] == ['save', 'step', 'start']
    # On a crowded machine the write may be over before the kill arrives.
    assert (record.kills[0].inside or 'iter_').startswith('iter_')
    assert record.rounds[-1] == dict(kills=3, differences=[])
    assert 'equal bit for bit' in said[-1]
    assert json.loads((tmp_path / 'soak/soak.json').read_text()) == json.loads(json.dumps(record.content()))
    # Nothing is left of the killed.
    assert not list((tmp_path / 'soak').rglob('.*.partial'))
    # And again: all is done already.
    said.clear()
    assert Soak(settings, tmp_path / 'soak', said.append).run().kills == record.kills
    assert said == []


def test_a_resume_that_is_not_exact_is_noticed(settings, tmp_path, monkeypatch):
    """Dropout from the generator that the start of the process has seeded."""
    monkeypatch.setattr(uda_hook, 'seed_all', lambda *key: None)
    one = replace(settings, kills=1)
    record = Soak(one, tmp_path / 'soak', lambda line: None).run()
    assert any(place.startswith('state_dict.student') for place in record.rounds[-1]['differences'])


def test_a_training_that_fails_ends_the_soak(settings, tmp_path):
    broken = Settings(('nowhere.py',), 10, 2, fresh=0)
    with pytest.raises(SoakError, match=r'did not go on by itself \(exit code 1\):\n.*no config at nowhere.py'):
        Soak(broken, tmp_path / 'soak', lambda line: None).run()


def test_an_interrupted_soak_goes_on(settings, tmp_path):
    record = Record.read(tmp_path / 'soak.json', settings)
    assert record.kills == []
    record.kills.append(Kill('step', 3, None, 2, 1.5))
    record.write()
    assert Record.read(tmp_path / 'soak.json', settings).kills == record.kills
    other = replace(settings, interval=3)
    with pytest.raises(SoakError, match='is of a soak with other settings; choose another --work-dir'):
        Record.read(tmp_path / 'soak.json', other)


def test_losing_more_than_the_interval_is_an_error(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(soak, '_resumes_at', lambda folder: 4)
    life = lives.Life(2**22 + 1, tmp_path / 'log.txt')
    life.iteration, life.code = 7, 0
    with pytest.raises(SoakError, match='more is lost than the interval of 2 iterations'):
        Soak(settings, tmp_path / 'soak')._kill('step', life, tmp_path, 2)
    life.iteration = 6
    assert Soak(settings, tmp_path / 'soak')._kill('step', life, tmp_path, 2).resumes_at == 4


def test_what_a_life_has_logged(tmp_path):
    """Lines are read when they are whole; those of an earlier life do not count."""
    log = tmp_path / 'log.txt'
    log.write_text('Iter(train) [ 9/10]\n')
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    life = lives.Life(pid, log)
    try:
        assert life.look()
        assert life.iteration is None
        with log.open('a') as file:
            file.write('Iter(train) [ 3/10] loss: 1\nIter(train) [ 4')
        assert life.look()
        assert life.iteration == 3
        with log.open('a') as file:
            file.write('/10] loss: 1\n')
        assert life.look()
        assert life.iteration == 4
    finally:
        os.kill(pid, signal.SIGKILL)
    while life.look():
        time.sleep(0.01)
    assert life.code == -signal.SIGKILL


def test_summary():
    content = dict(settings=dict(interval=2, iterations=10, seed=0), rounds=[dict(kills=2, differences=[])], kills=[
        dict(kind='save', iteration=4, inside='iter_4.pth', resumes_at=2),
        dict(kind='start', iteration=2, inside=None, resumes_at=2)])
    text = summary(content)
    assert '| kills | 2 |' in text
    assert '| that left an unfinished checkpoint behind | 1 |' in text
    assert '| iterations lost by a kill: mean, most | 1.0, 2 |' in text
    assert 'bit for bit those of the undisturbed one' in text
    content['rounds'][0]['differences'] = ['optimizer.state']
    assert '**DIFFERENT: optimizer.state**' in summary(content)
