"""The demo's commands and its progress bar."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from benchmarks import pictures
from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.engine.config import load_config
from tests.tools_runner import ROOT
from tools import demo


def test_given_paths_are_those_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['demo.py', '--picture', 'a.png', '--work-dir', 'w'])
    args = demo.parse_args()
    assert (args.picture, args.work_dir) == (tmp_path / 'a.png', tmp_path / 'w')
    assert args.data == Path('data/mini'), 'of the repository'


def test_a_picture_of_the_last_checkpoints(tmp_path, monkeypatch):
    """Of finished trainings: nothing is trained again."""
    for name in ('source_only', 'DACS', 'CAMix'):
        save_checkpoint(dict(state_dict={}, meta={}), str(tmp_path / f'w/{name}/iter_3.pth'))
        record = dict(finished=True, val=[dict(iteration=3, metrics={'student/mIoU': 20.0})])
        (tmp_path / f'w/{name}/metrics.json').write_text(json.dumps(record))
    commands = []
    monkeypatch.setattr(demo, 'run', lambda command, *_: commands.append([str(word) for word in command]))
    monkeypatch.setattr('sys.argv', ['demo.py', '--work-dir', f'{tmp_path}/w', '--data', f'{tmp_path}/data'])
    monkeypatch.chdir(ROOT)
    demo.main()
    *_, (_, module, *arguments) = commands
    monkeypatch.setattr('sys.argv', ['pictures', *arguments])
    args = pictures.parse_args()
    assert (len(commands), module, args.out) == (3, 'benchmarks.pictures', tmp_path / 'w/demo.png')
    assert args.checkpoints == [f'{tmp_path}/w/{name}/iter_3.pth' for name in ('source_only', 'DACS', 'CAMix')]
    assert args.cfg_options == dict(data_root=f'{tmp_path}/data')


@pytest.mark.parametrize('iterations', [1, 2, 51, 400])
def test_a_short_training_has_a_schedule(tmp_path, monkeypatch, iterations):
    options = {}
    monkeypatch.setattr(demo, 'run', lambda command, *_: options.update(
        (key, int(value)) for key, _, value in (word.partition('=') for word in command[6:])))
    demo.train('DACS', '', Namespace(work_dir=tmp_path, data=7, iters=iterations))
    cfg = load_config(str(ROOT / demo.CONFIGS['DACS']), {key: options[key] for key in options if key != 'data_root'})
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    first, second = (PARAM_SCHEDULERS.build(dict(each, optimizer=optimiser)) for each in cfg.param_scheduler)
    assert (first.end, cfg.train_cfg.max_iters) == (second.begin, iterations)
    assert first.end == 50 or iterations < 51


def test_a_training_is_followed_with_the_time_left(tmp_path, capsys):
    lines = "print('Iter(train) [50/200]', flush=True); time.sleep(1.2); print('Iter(train) [150/200]', flush=True)"
    demo.run(['-c', f'import time; {lines}; time.sleep(1)'], tmp_path / 'new/train.txt', 'DACS')
    bar = capsys.readouterr().err
    assert f'DACS (log: {tmp_path}/new/train.txt)' in bar
    assert '50/200' in bar
    assert '150/200' in bar.splitlines()[-1]
    assert '<00:0' in bar, 'seconds left'
