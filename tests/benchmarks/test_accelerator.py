"""The measurement of an accelerator: its order, limits, records and page; the whole command in its rehearsal."""

import ast
import json
import subprocess
import sys
import time

import pytest
import torch
from mmengine.runner import Runner

from benchmarks.accelerator import (
    CONFIGS,
    MINIATURE,
    Part,
    continued,
    junit_results,
    measure,
    ordered,
    read_json,
    without_folders,
)
from benchmarks.accelerator_page import NONE, write_page
from benchmarks.accelerator_parts import configured, covered, drawn_on_host
from drawn_streets.writer import write_benchmark
from mmseg_camix.models.uda.wrapper import check_model_config
from tests.tools_runner import ROOT, call

PAGE = '# Accelerators\n<!-- begin accelerators -->\n<!-- end accelerators -->\n'


def command(code: str) -> list[str]:
    return [sys.executable, '-c', code]


def test_untried_parts_come_first_and_finished_ones_not_again():
    parts = [Part(name, [], 1, read_json) for name in ('failed', 'done', 'timed out', 'new')]
    record = dict(parts={name: dict(status=name) for name in ('failed', 'done', 'timed out')})
    assert [part.name for part in ordered(parts, record)] == ['new', 'timed out', 'failed']


def test_a_record_continues_on_the_same_device_only(tmp_path):
    out, facts = tmp_path / 'x.json', dict(device='card', rehearsal=False, torch='2')
    assert continued(out, facts) == dict(facts, parts={})
    out.write_text(json.dumps(dict(device='card', rehearsal=False, torch='1', parts=dict(a=dict(status='done')))))
    assert continued(out, facts) == dict(facts, parts=dict(a=dict(status='done')))
    for other in (dict(facts, device='another'), dict(facts, rehearsal=True)):
        with pytest.raises(SystemExit, match='record of another run .* name another file with --out'):
            continued(out, other)


def test_results_survive_a_time_limit_that_ends_all_processes(tmp_path):
    code = ('import os, pathlib, subprocess, sys, time\n'
            'pathlib.Path(os.environ["ACCELERATOR_FOLDER"], "a.json").write_text("{\\"steps\\": 3}")\n'
            'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)\n'
            f'pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))\ntime.sleep(60)')
    start = time.monotonic()
    entry = measure(Part('a part', command(code), 60, lambda folder: read_json(folder / 'results/a.json')), 3, tmp_path)
    assert time.monotonic() - start < 30
    assert entry['status'] == 'timed out'
    assert entry['results'] == dict(steps=3)
    state = subprocess.run(['ps', '-o', 'stat=', '-p', (tmp_path / 'child').read_text()],
                           capture_output=True, text=True)
    assert state.stdout.strip()[:1] in ('', 'Z')


def test_a_failure_is_recorded_with_the_end_of_its_output_and_without_folders(tmp_path):
    code = f'raise SystemExit("cannot read {ROOT}/data")'
    entry = measure(Part('a part', command(code), 60, lambda folder: {}), 60, tmp_path)
    assert entry['status'] == 'failed'
    assert entry['output'] == ['cannot read data']
    assert without_folders([f'{ROOT}/x']) == ['x']


def test_results_of_tests(tmp_path):
    path = tmp_path / 'tests.xml'
    path.write_text('<testsuites><testsuite><testcase classname="a" name="b"/><testcase classname="a" name="c">'
                    '<skipped/></testcase><testcase classname="a" name="d"><failure message="1 != 2"/></testcase>'
                    '</testsuite></testsuites>')
    assert junit_results(path) == dict(passed=1, skipped=1, failed={'a::d': '1 != 2'})
    assert junit_results(tmp_path / 'none') == {}


def test_busy_time_counts_overlaps_once():
    intervals = [(0, 4), (1, 2), (3, 6), (8, 9)]
    slow = sum(any(begin <= moment < end for begin, end in intervals) for moment in range(10))
    assert covered(intervals[::-1]) == slow


def test_numbers_are_those_of_the_host():
    draw = drawn_on_host(torch.rand)
    assert torch.equal(draw((3, 2), generator=torch.Generator().manual_seed(1), device=torch.device('cpu')),
                       torch.rand((3, 2), generator=torch.Generator().manual_seed(1)))
    assert draw(2, 3, device='meta').shape == (2, 3)


def test_without_a_record_the_page_says_so(tmp_path):
    (tmp_path / 'accelerators').mkdir()
    (tmp_path / 'accelerators.md').write_text(PAGE)
    write_page(tmp_path / 'accelerators')
    assert NONE in (tmp_path / 'accelerators.md').read_text()
    assert NONE in (ROOT / 'docs' / 'accelerators.md').read_text() or list((ROOT / 'docs/accelerators').glob('*.json'))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--device', 'cpu'], 'name its file with --out'),
    (['--device', 'cpu', '--out', 'x.json', '--minutes', '0'], 'must be positive'),
    (['--device', 'cuda'], 'does not find an accelerator'),
    ([], 'no accelerator on this machine')])
@pytest.mark.skipif(torch.cuda.is_available(), reason='is about machines without a GPU')
def test_errors_teach(arguments, message, monkeypatch, capsys):
    from benchmarks import accelerator
    monkeypatch.setattr(sys, 'argv', ['accelerator', *arguments])
    with pytest.raises(SystemExit):
        accelerator.main()
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_rehearsal_measures_every_part_once(tmp_path):
    """On a CPU with tiny sizes; and a record of it renders."""
    out = tmp_path / 'accelerators' / 'cpu.json'
    arguments = [sys.executable, '-m', 'benchmarks.accelerator', '--device', 'cpu', '--minutes', '8', '--out', str(out),
                 '--data-root', str(tmp_path / 'mini'), '--work-dir', str(tmp_path / 'work')]
    subprocess.run(arguments, check=True, cwd=ROOT)
    record = json.loads(out.read_text())
    assert {name: part['status'] for name, part in record['parts'].items()} == {
        name: 'done' for name in ('tests', 'step: CAMix, miniature', 'agreement', 'synchronisation', 'float16', 'trace',
                                  'loading', 'two processes', 'headline')}
    assert record['parts']['agreement']['results']['agrees']
    assert record['parts']['two processes']['results'] == dict(gloo='trains')
    before = out.read_text()
    subprocess.run(arguments, check=True, cwd=ROOT)
    assert out.read_text() == before
    (tmp_path / 'accelerators.md').write_text(PAGE)
    write_page(out.parent)
    page = (tmp_path / 'accelerators.md').read_text()
    assert 'a rehearsal with tiny sizes' in page
    assert all(text in page for text in ('| CAMix, miniature | bf16 |', '**Tests.** 24 passed', 'Source only | '))


@pytest.mark.slow
def test_each_measured_config_gives_a_batch_of_its_size(tmp_path):
    """With the options that the command sets; the networks themselves are built by other tests."""
    write_benchmark(tmp_path, ('gta', 'cityscapes'), seed=1, train=13, val=1)
    assert call('dataset/class_stats.py', 'gta', tmp_path / 'gta', '--jobs', 1) == 0
    for config, *options in {**CONFIGS, **MINIATURE}.values():
        values = {key: ast.literal_eval(value) for key, value in (option.split('=') for option in options)}
        cfg = configured(config, str(tmp_path), values, ['amp=bf16', 'channels_last'])
        check_model_config(cfg.model)
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        size = tuple(cfg.model.segmentor.data_preprocessor.size)
        for branch in ('source', 'target'):
            images = batch['inputs'][branch] if 'inputs' in batch else batch[branch]['inputs']
            assert len(images) == cfg.train_dataloader.batch_size
            assert all(image.shape[-2:] == size for image in images)
