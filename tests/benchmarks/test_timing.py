"""Where the time of a step goes: phases that are all there, and add up."""

import time

import pytest
import torch

from benchmarks import timing
from benchmarks.timing import StepTiming, StopWatch
from tests.models import tiny
from tests.world import config

DACS = ['data', 'teacher forward', 'labels, masks, views', 'source forward', 'mixed forward', 'backward', 'optimiser',
        'EMA']


@pytest.mark.parametrize(('method', 'phases'), [
    ('DACS', DACS),
    ('MeanTeacher', [name.replace('mixed', 'strong') for name in DACS]),
    ('SourceOnly', ['data', 'labels, masks, views', 'source forward', 'backward', 'optimiser', 'EMA'])])
def test_phases(world, tmp_path, method, phases):
    found = timing.time_step(config(world, tmp_path, method), steps=2, warmup=1)
    assert sorted(found.phases) == sorted(phases)
    assert all(ms > 0 for ms in found.phases.values())
    assert found.total == pytest.approx(sum(found.phases.values()))
    assert found.peak_mib > 1
    table = found.table()
    assert all(f'| {name} |' in table for name in phases)


def test_the_phases_cover_the_step(world, tmp_path, monkeypatch):
    """Most of a step's time is in one of them, and none of it in two."""
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
    found = timing.time_step(config(world, tmp_path, segmentor=segmentor), steps=3, warmup=1)
    assert max(shares) < 1
    assert max(shares) > 0.7
    networks = sum(ms for name, ms in found.phases.items() if name.endswith(('forward', 'backward')))
    assert found.overhead == pytest.approx(1 - networks / found.total)


def test_a_phase_that_occurs_twice_counts_with_its_sum():
    watch = StopWatch(torch.device('cpu'))
    for _ in range(2):
        for _ in range(3):
            with watch('phase'):
                time.sleep(0.01)
        watch.end_step()
    assert len(watch.seconds['phase']) == 2
    assert all(0.03 <= seconds < 0.2 for seconds in watch.seconds['phase'])


def test_overhead_and_table():
    found = StepTiming({'data': 10.0, 'source forward': 40.0, 'backward': 40.0, 'EMA': 10.0}, 512.0, 'CPU')
    assert found.total == 100
    assert found.overhead == pytest.approx(0.2)
    table = found.table()
    assert '| data | 10.0 | 10.0% |' in table
    assert 'not a network pass: 20.0% of the step; peak memory 512 MiB (CPU)' in table


def test_the_model_trains_while_it_is_timed(world, tmp_path):
    """A step that is timed is a whole step; nothing is left out to look fast."""
    from mmseg_camix.models import teacher
    made = []
    inner = teacher.EMATeacher.update

    def update(self, student):
        inner(self, student)
        made.append(self.steps_made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher.EMATeacher, 'update', update)
        timing.time_step(config(world, tmp_path), steps=2, warmup=1)
    assert made == [1, 2, 3]


def test_the_clock_of_the_thread_leaves_waiting_out(world, tmp_path):
    watch = StopWatch(torch.device('cpu'), timing.CLOCKS['thread'])
    with watch('phase'):
        time.sleep(0.05)
    watch.end_step()
    assert watch.seconds['phase'][0] < 0.03
    found = timing.time_step(config(world, tmp_path), steps=1, warmup=0, clock='thread')
    assert found.total > 0
    assert "the thread's own time" in found.table()
