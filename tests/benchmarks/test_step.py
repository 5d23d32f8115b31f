"""The phases of a timed step are complete and add up."""

import json
import time

import pytest
import torch

from benchmarks import timing
from benchmarks.step import StepTiming, time_step
from benchmarks.timing import StopWatch
from mmseg_camix.models.teacher import EMATeacher
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config

DACS = ['data', 'teacher forward', 'labels, masks, views', 'source forward', 'mixed forward', 'backward', 'optimiser',
        'EMA']


@pytest.mark.parametrize(('method', 'phases'), [
    ('DACS', DACS),
    ('MeanTeacher', [name.replace('mixed', 'strong') for name in DACS]),
    ('SourceOnly', ['data', 'labels, masks, views', 'source forward', 'backward', 'optimiser', 'EMA'])])
def test_phases(world, tmp_path, method, phases):
    measured = time_step(config(world, tmp_path, method), steps=2, warmup=1)
    assert sorted(measured.phases) == sorted(phases)
    assert all(ms > 0 for ms in measured.phases.values())
    assert measured.total == pytest.approx(sum(measured.phases.values()))
    assert measured.peak_mib > 1
    table = measured.table()
    assert all(f'| {name} |' in table for name in phases)


def test_the_phases_cover_the_step(world, tmp_path, monkeypatch):
    """Most of a step's time is in a phase, and none of it in two."""
    segmentor = tiny.segmentors()['a cascade']
    for head in segmentor['decode_head']:
        head['num_classes'] = 19
    shares, inner = [], timing.Training.step

    def step(self, index):
        began = time.perf_counter()
        inner(self, index)
        whole = time.perf_counter() - began
        shares.append(sum(values[-1] for values in self.watch.seconds.values()) / whole)

    monkeypatch.setattr(timing.Training, 'step', step)
    measured = time_step(config(world, tmp_path, segmentor=segmentor), steps=3, warmup=1)
    assert max(shares) < 1
    assert max(shares) > 0.7
    networks = sum(ms for name, ms in measured.phases.items() if name.endswith(('forward', 'backward')))
    assert measured.overhead == pytest.approx(1 - networks / measured.total)


def test_a_repeated_phase_counts_with_its_sum_and_without_inner_phases():
    now = iter(range(100))
    watch = StopWatch(torch.device('cpu'), lambda: next(now))
    for _ in range(2):
        for _ in range(3):
            with watch('outer'), watch('inner'):
                pass
        watch.end_step()
    assert watch.seconds == {'outer': [6, 6], 'inner': [3, 3]}


def test_overhead_and_table():
    measured = StepTiming({'data': 10.0, 'source forward': 40.0, 'backward': 40.0, 'EMA': 10.0}, 512.0, 'CPU')
    assert (measured.total, measured.overhead) == (100, pytest.approx(0.2))
    assert '| data | 10.0 | 10.0% |' in measured.table()
    assert 'not a network pass: 20.0% of the step; peak memory 512 MiB (CPU)' in measured.table()


def test_a_timed_step_is_a_whole_step_by_the_threads_clock(world, tmp_path, monkeypatch):
    steps_made, inner = [], EMATeacher.update

    def update(self, student):
        inner(self, student)
        steps_made.append(self.steps_made)

    monkeypatch.setattr(EMATeacher, 'update', update)
    measured = time_step(config(world, tmp_path), steps=2, warmup=1, clock='thread')
    assert steps_made == [1, 2, 3]
    assert measured.total > 0
    assert "the thread's own time" in measured.table()


def test_the_threads_clock_excludes_waiting():
    watch = StopWatch(torch.device('cpu'), timing.CLOCKS['thread'])
    with watch('phase'):
        time.sleep(0.05)
    watch.end_step()
    assert watch.seconds['phase'][0] < 0.03


def test_tool(world, tmp_path, capsys):
    config(world, tmp_path / 'x', 'DACS').dump(str(tmp_path / 'cfg.py'))
    arguments = ['--steps', 1, '--warmup', 0, '--speed', 'channels_last']
    assert call('benchmarks.step', tmp_path / 'cfg.py', *arguments, '--json', tmp_path / 'timing.json') == 0
    output = capsys.readouterr().out
    assert '| **step** |' in output
    assert '(CPU, threads: ' in output
    assert set(json.loads((tmp_path / 'timing.json').read_text())['phases']) == set(DACS)
    assert 'above 0.01 GiB' in call('benchmarks.step', tmp_path / 'cfg.py', *arguments, '--most-gib', 0.01)
    assert "'turbo' is not an option" in call('benchmarks.step', tmp_path / 'cfg.py', '--speed', 'turbo')
    assert call('benchmarks.step', tmp_path / 'cfg.py', '--warmup', -1) == 2
