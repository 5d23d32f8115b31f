"""The demo's picture of predictions side by side, and its progress bar."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from mmseg_camix.visualization import sheets
from mmseg_camix_tools.processes import CommandError
from tests.models import tiny
from tests.world import SIZE, config
from tools import demo


def test_picture(world, tmp_path, monkeypatch):
    cfg = config(world, tmp_path / 'x', segmentor=tiny.small(num_classes=19))
    cfg.data_root = 'data/mini'  # as in the configs; the demo replaces it
    cfg.val_dataloader.dataset.data_root = 'data/mini/cityscapes'
    cfg.dump(str(tmp_path / 'cfg.py'))
    torch.save(dict(state_dict=tiny.build(cfg.model).state_dict(), meta={}), tmp_path / 'w.pth')
    columns = {}
    monkeypatch.setattr(demo, 'grid', lambda given: columns.update(given) or sheets.grid(given))
    network = str(tmp_path / 'cfg.py'), tmp_path / 'w.pth'
    demo.draw_comparison(dict(A=network, B=network), world, tmp_path / 'new/sheet.png', count=2, width=SIZE[1])
    assert (tmp_path / 'new/sheet.png').is_file()
    assert list(columns) == ['target image', 'ground truth', 'A', 'B']
    cfg.val_dataloader.dataset.data_root = f'{world}/cityscapes'
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    palette = dataset.metainfo['palette']
    for row, sample in enumerate((dataset[0], dataset[len(dataset) - 1])):
        label = sample['data_samples'].gt_sem_seg.data[0].numpy()
        assert np.array_equal(columns['ground truth'][row], sheets.colourise(label, palette))
        assert np.array_equal(columns['target image'][row], sample['inputs'].numpy()[::-1].transpose(1, 2, 0))
        prediction, = demo.predict(*network, [sample])
        assert np.array_equal(columns['A'][row], sheets.colourise(prediction, palette))


def test_given_paths_are_those_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['demo.py', '--picture', 'a.png', '--work-dir', 'w'])
    args = demo.parse_args()
    assert (args.picture, args.work_dir) == (tmp_path / 'a.png', tmp_path / 'w')
    assert args.data == Path('data/mini'), 'of the repository'


def test_a_training_is_followed_with_the_time_left(tmp_path, capsys):
    lines = "print('Iter(train) [50/200]', flush=True); time.sleep(1.2); print('Iter(train) [150/200]', flush=True)"
    demo.run(['-c', f'import time; {lines}; time.sleep(1)'], tmp_path / 'new/train.txt', 'DACS')
    bar = capsys.readouterr().err
    assert f'DACS (log: {tmp_path}/new/train.txt)' in bar
    assert '50/200' in bar
    assert '150/200' in bar.splitlines()[-1]
    assert '<00:0' in bar, 'seconds left'


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    with pytest.raises(CommandError, match=r'the reason \(exit code 1; log: '):
        demo.run(['-c', "raise SystemExit('the reason')"], tmp_path / 'log.txt')
