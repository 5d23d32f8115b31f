"""The whole way on drawn data with a reduced network of mmseg's zoo, killed once on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from drawn_streets.writer import write_benchmark
from tests.export.networks import SEGFORMER
from tests.tools_runner import ROOT
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def command(tmp_path_factory):
    """The command, its folder of results, and the working folder."""
    root = tmp_path_factory.mktemp('whole')
    write_benchmark(root / 'drawn', ('gta', 'cityscapes'), train=6, val=0)
    (root / 'segformer.py').write_text(SEGFORMER)
    arguments = ['-m', 'mmseg_camix', 'adapt', 'segformer.py', '--source', 'drawn/gta', '--classes', 'cityscapes',
                 '--target', 'drawn/cityscapes/leftImg8bit', '--iters', '6', '--out', 'out']
    return [sys.executable, *arguments], root / 'out', root


def start(command, root, log):
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    with (root / log).open('w') as file:
        return subprocess.Popen(command, cwd=root, env=env, stdout=file, stderr=subprocess.STDOUT)


@pytest.fixture(scope='module')
def adapted(command):
    """The folder of results after a kill in the adaptation and a second run, and when the first stages ended."""
    arguments, out, root = command
    process = start(arguments, root, 'first.log')
    wait_for(lambda: process.poll() is not None or list(out.glob('adapted/iter_*.pth')), 600)
    assert process.poll() is None, (root / 'first.log').read_text()[-2000:]
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = {file.name: file.stat().st_mtime for file in (out / 'stages').glob('*.json')}
    assert set(times) >= {'check.json', 'classes.json', 'size.json', 'plan.json', 'unadapted.json'}
    process = start(arguments, root, 'second.log')
    assert process.wait(600) == 0, (root / 'second.log').read_text()[-2000:]
    return out, times


def test_finished_stages_stay(adapted):
    out, times = adapted
    assert {name: (out / 'stages' / name).stat().st_mtime for name in times} == times
    assert 'resumed' in (out / 'logs/adapted.log').read_text()


def test_the_better_network_is_exported(adapted):
    out, _ = adapted
    stage = {name: json.loads((out / f'stages/{name}.json').read_text()) for name in ('unadapted', 'adapted', 'export')}
    before, after = stage['export']['before'], stage['export']['after']
    assert stage['export']['chosen'] == ('adapted' if after > before else 'unadapted')
    assert after == max(score for _, score in stage['adapted']['course'])
    assert stage['export']['text'] in (out / 'summary.txt').read_text()
    weights = torch.load(out / 'export/model.pth', weights_only=True)['state_dict']
    checkpoint = out.parent / stage[stage['export']['chosen']]['checkpoint']
    trained = torch.load(checkpoint, weights_only=True)['state_dict']
    prefix = 'teacher.model.' if stage['export']['chosen'] == 'adapted' else 'student.'
    assert weights and all(torch.equal(value, trained[prefix + name]) for name, value in weights.items())


def test_stock_mmseg_loads_the_export(adapted, tmp_path):
    out, _ = adapted
    image = next((out.parent / 'drawn/cityscapes').rglob('*_leftImg8bit.png'))
    job = dict(name='x', folder=str(out / 'export'), image=str(image), size=(64, 64), inferencer=False)
    (tmp_path / 'jobs.json').write_text(json.dumps(dict(exports=[job], threads=1)))
    program = ROOT / 'tests/export/stock_mmseg.py'
    done = subprocess.run([sys.executable, program, tmp_path / 'jobs.json', tmp_path / 'found.npz'], cwd=tmp_path,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.load(tmp_path / 'found.npz')['x/inference_model'].shape == (96, 192)


def test_the_command_repeated_has_nothing_to_do(adapted, command):
    arguments, out, root = command
    files = {file: file.stat().st_mtime for file in out.rglob('*') if file.is_file()}
    assert start(arguments, root, 'third.log').wait(300) == 0
    assert (out / 'summary.txt').read_text().strip() in (root / 'third.log').read_text()
    assert {file: file.stat().st_mtime for file in out.rglob('*') if file.is_file()} == files
    other = [*arguments, '--method', 'DACS']
    assert start(other, root, 'other.log').wait(300) == 1
    assert 'holds another adaptation (method was DAFormer, is DACS)' in Path(root / 'other.log').read_text()


def test_the_written_config_is_a_config_of_its_own(adapted, tmp_path):
    out, _ = adapted
    train = [sys.executable, ROOT / 'tools/train.py', out / 'adapted.py', '--work-dir', tmp_path / 'again',
             '--cfg-options', 'train_cfg.max_iters=1']
    done = subprocess.run(train, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_without_source(tmp_path):
    """From a checkpoint and target images only: the training data of the config do not exist here."""
    write_benchmark(tmp_path / 'drawn', ('cityscapes',), train=4, val=0)
    config = ROOT / 'configs/source_only/mini_gta2cs_tiny.py'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), tmp_path / 'trained.pth')
    arguments = ['-m', 'mmseg_camix', 'adapt', config, '--source-free', '--checkpoint', 'trained.pth', '--target',
                 'drawn/cityscapes/leftImg8bit', '--iters', '2', '--out', 'out']
    assert start([sys.executable, *arguments], tmp_path, 'log.txt').wait(900) == 0, (tmp_path / 'log.txt').read_text()
    stages = {file.stem: json.loads(file.read_text()) for file in (tmp_path / 'out/stages').glob('*.json')}
    assert set(stages) == {'check', 'size', 'plan', 'unadapted', 'adapted', 'export', 'report', 'summary'}
    assert (stages['plan']['unadapted'], stages['plan']['adapted']) == (0, 2)
    assert set(stages['check']['parts']) == {'target'}
    assert stages['report']['line'].endswith('report.html: the report')
    assert (tmp_path / 'out/export/model.pth').is_file()
    is_adapted = stages['export']['chosen'] == 'adapted'
    card = (tmp_path / 'out/export/card.md').read_text()
    assert ('data, target' in card, 'Trained on crops' in card) == (is_adapted, is_adapted)
    adapted = Config.fromfile(tmp_path / 'out/adapted.py')
    assert (adapted.model.type, 'source' in adapted.train_dataloader.dataset) == ('SourceFree', False)
