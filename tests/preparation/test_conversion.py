"""Converters: right ids, resumable, never half a file, and failures are reported."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

from mmseg_camix.datasets import GTADataset
from mmseg_camix.datasets.image_files import read_train_ids
from mmseg_camix_tools.preparation import LAYOUTS
from mmseg_camix_tools.preparation.conversion import convert, train_id_path
from tests.datasets.tiny import LABELLED, random_ids, write_palette_label
from tests.tools_runner import call

TOOL = 'dataset/convert_labels.py'


def outputs(root):
    return sorted(root.rglob('*labelTrainIds.png'))


def assert_converted(family, root):
    """Every output holds what the reader reads from its label."""
    layout = LAYOUTS[family]
    for label in layout.find_labels(root):
        picture = Image.open(train_id_path(label, layout))
        assert picture.mode == 'L'
        np.testing.assert_array_equal(picture, read_train_ids(str(label), layout.reader.IDS))


@pytest.mark.parametrize(('family', 'first', 'count'), [
    ('gta', 'labels/00001_labelTrainIds.png', 7),
    ('synthia', 'GT/LABELS/0000000_labelTrainIds.png', 3),
    ('cityscapes', 'gtFine/val/lindau/lindau_000000_000019_gtFine_labelTrainIds.png', 2)])
@pytest.mark.parametrize('jobs', [1, 2])
def test_files_hold_what_the_reader_reads(request, family, first, count, jobs):
    root = request.getfixturevalue(family)
    assert convert(family, root, jobs) == (count, 0, [])
    assert outputs(root)[0] == root / first
    assert len(outputs(root)) == count
    assert_converted(family, root)


def test_reader_takes_the_converted_files(gta):
    convert('gta', gta)
    raw = GTADataset(str(gta), pipeline=LABELLED)
    converted = GTADataset(str(gta), pipeline=LABELLED, ids='train', seg_map_suffix='_labelTrainIds.png')
    assert len(raw) == len(converted) == 7  # the new files are neither images nor raw labels
    assert (raw[3]['data_samples'].gt_sem_seg.data == converted[3]['data_samples'].gt_sem_seg.data).all()


def test_second_run_does_only_what_is_missing(gta):
    convert('gta', gta)
    files = outputs(gta)
    times = [path.stat().st_mtime_ns for path in files]
    files[2].unlink()
    files[4].write_bytes(files[4].read_bytes()[:-5])  # truncated meanwhile
    Image.new('L', (3, 3)).save(files[5])  # of another label
    os.utime(gta / 'labels/00001.png', (2e9, 2e9))  # newer than its output
    assert convert('gta', gta) == (4, 3, [])
    assert [i for i, path in enumerate(files) if path.stat().st_mtime_ns != times[i]] == [0, 2, 4, 5]
    assert convert('gta', gta, force=True)[0] == 7


def test_bad_files_are_listed_and_the_others_converted(gta, capsys):
    label = gta / 'labels/00003.png'
    label.write_bytes(label.read_bytes()[:-30])
    write_palette_label(gta / 'labels/00005.png', random_ids(5, 35) * 0 + 200)
    assert call(TOOL, 'gta', gta, '--jobs', 2) == 1
    printed = capsys.readouterr()
    assert '5 written, 0 there already, 2 failed' in printed.out
    errors = sorted(line for line in printed.err.splitlines() if line.startswith('error: '))
    assert len(errors) == 2
    assert '00003.png: the PNG is truncated' in errors[0]
    assert '00005.png: ids [200] are not in the map' in errors[1]
    assert [path.name[:5] for path in outputs(gta)] == ['00001', '00002', '00004', '00006', '00007']


def test_exit_codes_and_wrong_folders(gta):
    assert call(TOOL, 'gta', gta, '--jobs', 1) == 0
    error = call(TOOL, 'synthia', gta)
    assert error.startswith('error: ') and 'GT/LABELS: no such folder; ROOT is the folder' in error
    for path in (gta / 'labels').iterdir():
        path.unlink()
    assert "labels: no file ends in '.png'" in call(TOOL, 'gta', gta)


def test_unexpected_errors_name_the_file_too(gta, monkeypatch):
    monkeypatch.setattr('mmseg_camix_tools.preparation.conversion.read_train_ids', lambda *_: {}['something'])
    _, _, failures = convert('gta', gta)
    assert len(failures) == 7
    assert 'labels/00001.png: KeyError' in failures[0]


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
    assert_converted('gta', gta)
    assert not list(gta.rglob('.*.partial'))
