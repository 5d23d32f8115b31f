"""Converters: right ids, resumable, never half a file, and failures that are told."""

import os
import runpy
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_camix.datasets import GTADataset
from mmseg_camix.datasets.image_files import read_train_ids
from mmseg_camix.files import atomic_write
from mmseg_camix_tools.preparation import LAYOUTS
from mmseg_camix_tools.preparation.conversion import convert, train_id_path
from tests.datasets.tiny import random_ids, write_palette_label

TOOL = Path(__file__).parents[2] / 'tools/dataset/convert_labels.py'


@pytest.fixture
def main():
    return runpy.run_path(str(TOOL))['main']


def outputs(root):
    return sorted(root.rglob('*labelTrainIds.png'))


@pytest.mark.parametrize(
    ('family', 'first'),
    [
        ('gta', 'labels/00001_labelTrainIds.png'),
        ('synthia', 'GT/LABELS/0000000_labelTrainIds.png'),
        ('cityscapes', 'gtFine/val/lindau/lindau_000000_000019_gtFine_labelTrainIds.png'),
    ],
)
@pytest.mark.parametrize('jobs', [1, 2])
def test_files_hold_what_the_reader_reads(request, family, first, jobs):
    root = request.getfixturevalue(family)
    labels = LAYOUTS[family].find_labels(root)
    assert convert(family, root, jobs) == (len(labels), 0, [])
    assert outputs(root)[0] == root / first
    assert len(outputs(root)) == len(labels)
    for label in labels:
        picture = Image.open(train_id_path(label, LAYOUTS[family]))
        assert picture.mode == 'L'
        np.testing.assert_array_equal(picture, read_train_ids(str(label), LAYOUTS[family].reader.IDS))


def test_reader_takes_the_converted_files(gta):
    convert('gta', gta)
    steps = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='PackUDAInputs')]
    raw = GTADataset(str(gta), pipeline=steps)
    converted = GTADataset(str(gta), pipeline=steps, ids='train', seg_map_suffix='_labelTrainIds.png')
    assert len(raw) == len(converted) == 7  # the new files are no images or labels of their own
    assert (raw[3]['data_samples'].gt_sem_seg.data == converted[3]['data_samples'].gt_sem_seg.data).all()


def test_second_run_does_only_what_is_missing(gta):
    convert('gta', gta)
    files = outputs(gta)
    times = [path.stat().st_mtime_ns for path in files]
    files[2].unlink()
    files[4].write_bytes(files[4].read_bytes()[:-5])  # truncated by somebody else
    Image.new('L', (3, 3)).save(files[5])  # of another label
    os.utime(gta / 'labels/00001.png', (2e9, 2e9))  # newer than its output
    assert convert('gta', gta) == (4, 3, [])
    changed = [i for i, path in enumerate(files) if path.stat().st_mtime_ns != times[i]]
    assert changed == [0, 2, 4, 5]
    assert convert('gta', gta, force=True)[0] == 7


def test_bad_files_are_listed_and_the_others_done(gta, main, capsys):
    label = gta / 'labels/00003.png'
    label.write_bytes(label.read_bytes()[:-30])
    write_palette_label(gta / 'labels/00005.png', random_ids(5, 35) * 0 + 200)
    assert main(['gta', str(gta), '--jobs', '2']) == 1
    told = capsys.readouterr()
    assert '5 written, 0 there already, 2 failed' in told.out
    errors = [line for line in told.err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 2
    assert any('00003.png: the PNG is truncated' in e for e in errors)
    assert any('00005.png: ids [200] are not in the map' in e for e in errors)
    assert [path.name[:5] for path in outputs(gta)] == ['00001', '00002', '00004', '00006', '00007']


def test_success_is_exit_code_0_and_a_wrong_folder_is_told(gta, main):
    assert main(['gta', str(gta), '--jobs', '1']) == 0
    with pytest.raises(SystemExit, match=r'error: .*GT/LABELS: no such folder; ROOT is the folder'):
        main(['synthia', str(gta)])
    for path in (gta / 'labels').iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=r"labels: no file ends in '.png'"):
        main(['gta', str(gta)])


def test_unexpected_errors_name_the_file_too(gta, monkeypatch):
    def fail(*_):
        raise KeyError('something')

    monkeypatch.setattr('mmseg_camix_tools.preparation.conversion.read_train_ids', fail)
    _, _, failures = convert('gta', gta)
    assert len(failures) == 7
    assert 'labels/00001.png: KeyError' in failures[0]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    path.write_bytes(b'old')

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        atomic_write(path, b'new')
    assert path.read_bytes() == b'old'


def test_a_kill_leaves_whole_files_only_and_the_next_run_completes(gta):
    process = os.fork()
    if process == 0:  # the child dies in the middle of writing its third file
        calls = iter(range(10))  # two for each file: itself and its folder
        os.fsync = lambda _: next(calls) == 4 and os.kill(os.getpid(), signal.SIGKILL)
        convert('gta', gta)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert [path.name[:5] for path in outputs(gta)] == ['00001', '00002']
    assert list(gta.rglob('.*.partial'))  # the kill did come in the middle
    assert convert('gta', gta) == (5, 2, [])
    for label in LAYOUTS['gta'].find_labels(gta):
        np.testing.assert_array_equal(
            Image.open(train_id_path(label, LAYOUTS['gta'])), read_train_ids(str(label), 'cityscapes')
        )
    assert not list(gta.rglob('.*.partial'))


def test_help_explains(main, capsys):
    with pytest.raises(SystemExit) as caught:
        main(['--help'])
    assert caught.value.code == 0
    assert 'labelTrainIds.png' in capsys.readouterr().out
