"""Parts of an adaptation that need no training."""

import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import PARAM_SCHEDULERS

from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.datasets.rare_class import rare_class_probabilities
from mmseg_camix_tools.adapt import AdaptError, fitting, recipe, training, verdict
from mmseg_camix_tools.adapt.arguments import Request, class_list, duration, format_duration
from mmseg_camix_tools.adapt.draft import STEP, largest_crop, resized
from mmseg_camix_tools.adapt.fitting import Candidate, Measured, candidates, choose
from mmseg_camix_tools.adapt.schedules import compress_schedulers
from mmseg_camix_tools.adapt.stages import Stages, claim_folder, verify_folder
from mmseg_camix_tools.adapt.text import WIDTH, config_text, literal
from mmseg_camix_tools.processes import CommandError, run_logged
from tests.tools_runner import ROOT
from tests.waiting import is_alive, wait_for


@pytest.mark.parametrize(('text', 'seconds'), [('2h', 7200), ('90m', 5400), ('1h30m', 5400), ('45s', 45),
                                               ('1.5h', 5400), ('1H30M', 5400)])
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize('text', ['', '2', 'h', '-2h', '0m', '2 hours', '30m1h', 'nan'])
def test_other_durations_are_refused(text):
    with pytest.raises(ArgumentTypeError, match='write 2h'):
        duration(text)


@given(st.integers(1, 10**6))
def test_written_durations_are_read_within_a_minute(seconds):
    text = format_duration(seconds).replace(' ', '').replace('min', 'm')
    assert abs(duration(text) - seconds) < (60 if seconds >= 3600 else 1)


def test_class_lists():
    assert class_list(['road=7', 'sky=3,4']) == [('road', (7,)), ('sky', (3, 4))]
    assert class_list(['road', 'sky']) == [('road', (0,)), ('sky', (1,))]
    assert class_list(['cityscapes'])[0] == ('road', (7,))
    for wrong in (['road'], ['road=x', 'sky=1'], ['=1', 'sky=2'], ['synthia']):
        with pytest.raises(ArgumentTypeError, match='--classes'):
            class_list(wrong)


@pytest.mark.parametrize(('sizes', 'expected'), [
    ([(90, 160)] * 3, True), ([(90, 160), (90, 130)], True), ([(90, 160)] * 9 + [(160, 90)], False)])
def test_a_prior_must_fit_all_images(sizes, expected):
    """The training would stop at the first portrait among landscapes."""
    draft = SimpleNamespace(source_size=(180, 320), target_sizes=sizes)
    assert training.needs_prior(draft, 'CAMix') == expected
    assert not training.needs_prior(draft, 'DACS')


@given(st.integers(1, 300), st.integers(1, 60))
def test_spread_takes_both_ends_and_even_steps(count, limit):
    indices = spread_indices(count, limit)
    assert len(indices) == min(count, limit)
    assert indices[0] == 0
    assert limit == 1 or indices[-1] == count - 1
    steps = [b - a for a, b in zip(indices, indices[1:])]
    assert not steps or max(steps) - min(steps) <= 1


@given(st.tuples(st.integers(8, 2000), st.integers(8, 2000)),
       st.lists(st.tuples(st.integers(8, 3000), st.integers(8, 3000)), min_size=1, max_size=5))
def test_every_image_fills_the_crop(wanted, sizes):
    for axis, side in enumerate(largest_crop(wanted, sizes)):
        limit = min(wanted[axis], *(size[axis] for size in sizes))
        assert limit - STEP < side <= limit
        assert side in (wanted[axis], limit) or side % STEP == 0


@pytest.mark.parametrize(('pipeline', 'size'), [
    ([], (100, 200)),
    ([dict(type='Resize', scale=(64, 32))], (32, 64)),
    ([dict(type='Resize', scale=(40, 30)), dict(type='LoadAnnotations')], (30, 40)),
    ([dict(type='Resize', scale=(8192, 50), keep_ratio=True)], (50, 100)),
    ([dict(type='Resize', scale_factor=0.5)], (50, 100)),
    ([dict(type='Resize', scale_factor=(0.5, 2.0))], (200, 100)),
    ([dict(type='RandomResize', scale=(400, 100), ratio_range=(0.5, 2.0), keep_ratio=True)], (100, 200)),
    ([dict(type='RandomChoiceResize', scales=[(60, 30), (80, 40)], keep_ratio=True)], (30, 60)),
    ([dict(type='RandomChoiceResize', scales=[60, 50, 80], resize_type='ResizeShortestEdge')], (50, 100))])
def test_sizes_after_resizing(pipeline, size):
    assert resized(pipeline, (100, 200)) == size


# ------------------------------------------------------------------ configs

PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | st.text('ab =,\n"\'', max_size=30) | st.floats(-9, 9)
                     | st.sampled_from([float('inf'), -float('inf')]),
                     lambda inner: st.lists(inner, max_size=30) | st.lists(inner, max_size=3).map(tuple)
                     | st.dictionaries(st.sampled_from(['type', 'a', 'lambda', 'x y', 'b']), inner), max_leaves=30)


@given(st.dictionaries(st.sampled_from(['model', 'train_cfg', 'val_cfg', 'test_cfg', 'other']), PLAIN), PLAIN)
def test_a_written_config_reads_back(content, shared):
    content = dict(content, shares=dict(a=[shared], b=shared))
    values: dict = {}
    exec(config_text(content, ['A header.\nimport nothing'], dict(named=shared)), values)
    assert {key: values[key] for key in content} == content
    assert literal(float('nan'), {}) == "float('nan')"


def test_a_written_config_is_readable():
    content = dict(model=dict(a=list(range(100)), type='X'), val_cfg=dict(type='Y'), test_cfg=dict(type='Y'))
    lines = config_text(content).splitlines()
    assert max(map(len, lines)) <= WIDTH + 2
    assert 'test_cfg = val_cfg' in lines
    assert "    type='X'," in lines
    assert len(lines) < 20


@given(st.integers(1, 10**5), st.integers(1, 10**6), st.integers(0, 1500))
def test_schedules_are_compressed(iterations, length, warm_up):
    warm_up = min(warm_up, length // 3)
    cfg = dict(train_cfg=dict(max_iters=length), param_scheduler=[
        dict(type='LinearLR', start_factor=1e-6, begin=0, end=warm_up or 1, by_epoch=False),
        dict(type='PolyLR', power=0.9, begin=warm_up, end=length, by_epoch=True, convert_to_iter_based=True)])
    first, last = compress_schedulers(cfg, iterations)
    assert 1 <= first['end'] <= iterations
    assert last['end'] == iterations
    assert 0 <= last['begin'] <= iterations
    assert last['begin'] == pytest.approx(warm_up / length * iterations, abs=1)
    assert not last['by_epoch']
    assert 'convert_to_iter_based' not in last


@pytest.mark.parametrize(('loop', 'scheduler', 'expected'), [
    (dict(max_iters=80000), dict(type='MultiStepLR', milestones=[60000, 72000], by_epoch=False),
     dict(milestones=[750, 900], end=1000)),
    (dict(max_iters=80000), dict(type='CosineAnnealingLR', T_max=80000, begin=0, end=float('inf'), by_epoch=False),
     dict(T_max=1000, end=1000)),
    (dict(max_epochs=12), dict(type='MultiStepLR', milestones=[8, 11]), dict(milestones=[667, 917], end=1000)),
    (dict(max_epochs=12), dict(type='LinearLR', start_factor=0.1, end=500, by_epoch=False), dict(begin=0, end=50)),
    (dict(max_epochs=12), dict(type='StepLR', step_size=3, by_epoch=True), dict(step_size=250)),
    (dict(max_epochs=100), dict(type='ExponentialLR', gamma=0.9), dict(gamma=0.9 ** 0.1, end=1000)),
    (dict(max_iters=10), dict(type='PolyLR', eta_min=1e-4, by_epoch=False), dict(eta_min=1e-6, end=1000))])
def test_all_lengths_and_rates_of_a_schedule_are_scaled(loop, scheduler, expected):
    scaled, = compress_schedulers(dict(train_cfg=loop, param_scheduler=[scheduler]), 1000, rate=0.01)
    assert all(scaled[key] == pytest.approx(value) for key, value in expected.items())
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    PARAM_SCHEDULERS.build(dict(scaled, optimizer=optimiser))


def test_rare_classes_are_not_all_that_is_drawn():
    streets = np.tile([900, 80, 20], (40, 1))
    assert recipe.temperature_for(streets, 10) == recipe.TEMPERATURE  # all images have the rarest class
    table = np.tile([1000, 0], (100, 1))
    table[:3] = 500, 500
    temperature = recipe.temperature_for(table, 10)
    common, rare = rare_class_probabilities(table.sum(0), temperature)
    assert common > 0.05 < rare
    assert recipe.temperature_for(table * 0, 10) == recipe.TEMPERATURE


def test_synchronised_normalisation_is_replaced_everywhere():
    node = dict(norm_cfg=dict(type='SyncBN'), heads=[dict(norm_cfg=dict(type='MMSyncBN')), dict(type='ReLU')])
    assert training._without_sync(node) == dict(norm_cfg=dict(type='BN'), heads=[dict(norm_cfg=dict(type='BN')),
                                                                               dict(type='ReLU')])


# ------------------------------------------------------------------ fitting


def measured_by(per_pixel: float, free: float):
    """The probe of a machine with 100 bytes plus some per pixel, time in proportion; and the sizes that it measured."""
    calls = []

    def probe(size: Candidate) -> Measured | None:
        calls.append(size)
        peak = 100 + per_pixel * size.pixels
        steps = dict(unadapted=size.pixels, adapted=3 * size.pixels)
        return None if peak > free else Measured(steps, 1.0, 5.0, 100, int(peak))
    return probe, calls


def test_candidates_shrink():
    sizes = candidates((512, 1024), 8)
    assert sizes[0] == Candidate((512, 1024), 8)
    assert sizes[-1].batch == 1
    assert [size.pixels for size in sizes] == sorted({size.pixels for size in sizes}, reverse=True)
    assert all(side % STEP == 0 for size in sizes for side in size.crop)
    assert candidates((40, 40), 2) == [Candidate((40, 40), 2), Candidate((40, 40), 1)]


def test_a_method_that_mixes_targets_never_has_one_image_per_batch():
    assert [training.fewest_images(name) for name in ('NaiveClassMix', 'DAFormer', 'SourceFree')] == [2, 1, 1]
    assert candidates((40, 40), 2, 2) == [Candidate((40, 40), 2)]
    probe, calls = measured_by(1.0, 50)
    with pytest.raises(AdaptError, match='too little memory: even crops of 40x40, 2 per batch .*50 MiB are free'):
        choose(candidates((40, 40), 2, 2), probe, 50 * 2**20, None)
    assert len(calls) == 1


@pytest.mark.parametrize('free', [3e4, 1e5, 3e5, 1e6, 1e7])
@pytest.mark.parametrize('seconds', [None, 1e7, 1e8, 1e12])
def test_the_largest_size_that_fits_memory_and_time(free, seconds):
    sizes = candidates((256, 512), 4)
    probe, calls = measured_by(1.0, free)
    fits = [size for size in sizes[:-2] if 100 + size.pixels <= fitting.MEMORY_SHARE * free
            and (seconds is None or 3 * size.pixels * fitting.ENOUGH <= seconds)]
    base = [size for size in sizes[-2:] if 100 + size.pixels <= free]
    assert choose(sizes, probe, int(free), seconds)[0] == (fits + base)[0]
    assert len(calls) <= 3


def test_sizes_that_fail_in_spite_of_the_estimate_are_passed_over():
    sizes = candidates((256, 512), 4)
    probe, _ = measured_by(1.0, sizes[1].pixels)
    assert choose(sizes, probe, None, None)[0] == sizes[2]


def test_free_memory_is_plausible():
    assert 2**20 < fitting.free_memory() < 2**50


# ------------------------------------------------------------------ the verdict


def test_the_best_checkpoint_that_exists(tmp_path, monkeypatch):
    """That of iteration 300 could not be written, that of 100 was not removed, by a kill."""
    course = [[100, 0.5], [200, 0.6], [300, 0.7]]
    record = dict(val=[dict(iteration=iteration, metrics=dict(a=value)) for iteration, value in course])
    (tmp_path / 'metrics.json').write_text(json.dumps(record))
    with pytest.raises(AdaptError, match='no validation has given a checkpoint'):
        verdict.best_of(tmp_path, 'a')
    for iteration in (200, 100):
        (tmp_path / f'best_a_iter_{iteration}.pth').touch()
    monkeypatch.chdir(tmp_path.parent)  # the command may be repeated in another folder
    assert verdict.best_of(Path(tmp_path.name), 'a') == dict(
        checkpoint=str(tmp_path / 'best_a_iter_200.pth'), iteration=200, score=0.6, course=course)


def test_formats_that_cannot_be_written_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(verdict, 'open_network', lambda *_: SimpleNamespace(crop=(8, 16)))
    monkeypatch.setattr(verdict, 'write_mmseg', lambda _, folder: (folder / 'model.pth').touch()
                        or SimpleNamespace(foreign={}))
    monkeypatch.setattr(verdict, 'write_card', lambda *_: None)
    monkeypatch.setattr(verdict, 'write_safetensors', Mock(side_effect=AssertionError()))
    monkeypatch.setattr(verdict, 'write_onnx', Mock(side_effect=RuntimeError('\nno operator\nat x')))
    (tmp_path / 'model.onnx').touch()  # of an interrupted export
    lines = verdict.export(tmp_path / 'x.pth', tmp_path / 'x.py', tmp_path)
    assert lines[1:3] == ['model.safetensors: not written (AssertionError)',
                          'model.onnx: not written (RuntimeError: no operator)']
    assert [file.name for file in tmp_path.iterdir()] == ['model.pth']
    monkeypatch.setattr(verdict, 'write_onnx', lambda *_: None)
    lines = verdict.export(tmp_path / 'x.pth', tmp_path / 'x.py', tmp_path)
    assert lines[2] == 'model.onnx: images of 16x8 (width x height)'


# ------------------------------------------------------------------ stages and processes


def test_finished_stages_are_not_repeated(tmp_path):
    calls = []
    for _ in range(2):
        stages = Stages(tmp_path)
        result = stages.run('count', lambda: calls.append(1) or dict(number=3))
        assert result['number'] == 3
    assert calls == [1]
    assert Stages(tmp_path).seconds() == result['seconds']
    with pytest.raises(ZeroDivisionError):
        stages.run('fails', lambda: dict(x=1 / 0))
    assert stages.result('fails') is None
    (stages.folder / 'count.json').write_text('{')
    with pytest.raises(AdaptError, match='count.json is damaged'):
        stages.result('count')


def test_another_adaptation_is_refused(tmp_path):
    (tmp_path / 'cfg.py').write_text('a = 1')
    request = Request(str(tmp_path / 'cfg.py'), tmp_path / 'target', tmp_path / 'out')
    verify_folder(request)
    claim_folder(request)
    verify_folder(request)
    for change in (dict(method='DACS'), dict(seconds=60.0), dict(iterations=5), dict(target=tmp_path / 'x')):
        name = list(change)[0].replace('seconds', 'time')
        with pytest.raises(AdaptError, match=f'another adaptation .*{name} was'):
            verify_folder(Request(**{**vars(request), **change}))
    (tmp_path / 'cfg.py').write_text('a = 2')
    with pytest.raises(AdaptError, match='config was'):
        verify_folder(request)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/letter.txt').write_text('x')
    with pytest.raises(AdaptError, match='not empty'):
        verify_folder(Request(**{**vars(request), 'out': tmp_path / 'full'}))


def test_commands_are_logged_and_their_errors_raised(tmp_path):
    log = tmp_path / 'log.txt'
    assert run_logged(['-c', "print('Iter(train) [ 3/4]')"], log, 'count') == 0
    assert 'Iter(train)' in log.read_text()
    assert run_logged(['-c', 'raise SystemExit(73)'], log, 'exit', accepted=(73,)) == 73
    with pytest.raises(CommandError, match=r'step: there is no wood \(exit code 1; log: .*log.txt\)'):
        run_logged(['-c', "raise SystemExit('error: there is no wood')"], log, 'step')


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux signals the death of a parent')
def test_a_command_ends_with_the_process_that_runs_it(tmp_path):
    pid_file = tmp_path / 'pid'
    child = f"import os, time; open('{pid_file}', 'w').write(str(os.getpid())); time.sleep(60)"
    code = ('from pathlib import Path; from mmseg_camix_tools.processes import run_logged; '
            f'run_logged(["-c", {child!r}], Path({str(tmp_path / "log")!r}), "sleep")')
    parent = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=dict(os.environ, PYTHONPATH=str(ROOT)))
    wait_for(lambda: pid_file.is_file() and pid_file.read_text())
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(int(pid_file.read_text())))
