"""Bad files, a bad disk and bad luck: prepare.py says what is wrong and what to do, and nothing is lost."""

import builtins
import errno
import os
import re
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_camix.datasets.defects import read_defects
from mmseg_camix_tools.preparation import pairs
from tests.datasets.tiny import random_ids, write_16_bit_label, write_grey_label, write_image, write_palette_label
from tests.waiting import locked

from .preparing import digests, main, write_config


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


def hole(path):
    """As an interrupted copy leaves it: the size is right, and the end is there, but zeros are within."""
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(40) + data[140:])


def wrong_length(path):
    """A chunk that claims to be longer than the file."""
    data = path.read_bytes()
    path.write_bytes(data[:33] + struct.pack('>I', 1 << 20) + data[37:])


def grey_16_bits(path):
    Image.fromarray(np.full((12, 20), 7, np.uint16)).save(path)


BAD_FILES = {
    'truncated image': ('images', truncate, 'image', 'the PNG is truncated (its end marker is missing)'),
    'image with a hole': ('images', hole, 'image', 'the PNG is damaged (wrong checksum)'),
    'image with a wrong length': ('images', wrong_length, 'image', 'the PNG is damaged (wrong checksum)'),
    'empty image': ('images', lambda path: path.write_bytes(b''), 'image', 'the file is empty'),
    'JPEG under the name of a PNG': (
        'images', lambda path: path.write_bytes(cv2.imencode('.jpg', np.zeros((9, 9, 3), np.uint8))[1].tobytes()),
        'image', 'not a PNG'),
    'truncated label': ('labels', truncate, 'label', 'the PNG is truncated (its end marker is missing)'),
    'label with a hole': ('labels', hole, 'label', 'the PNG is damaged'),
    '3-channel label': ('labels', lambda path: write_image(path, 1), 'label', 'a PNG of 8 bits and several channels'),
    'wrong bit depth': ('labels', grey_16_bits, 'label', 'a PNG of 16 bits and one channel'),
    'ids of nobody': ('labels', lambda path: write_palette_label(path, random_ids(1, 2) + 34), 'ids',
                      'ids [35] are not in the map'),
}


@pytest.mark.parametrize('name', BAD_FILES)
def test_bad_files_become_defects_and_the_others_are_done(gta, name, capsys):
    folder, spoil, kind, detail = BAD_FILES[name]
    spoil(gta / folder / '00003.png')
    assert main('gta', gta, '--no-prior') == 0
    defect, = read_defects(gta / 'defects.json').items
    assert (defect.image, defect.label, defect.kind) == ('images/00003.png', 'labels/00003.png', kind)
    assert defect.detail.startswith(f'00003.png: {detail}')
    printed = capsys.readouterr().out
    assert 'images/00003.png: 00003.png: ' + detail in printed
    assert 'counted in 6 labels' in printed


def test_bad_files_of_synthia(synthia):
    grey_16_bits(synthia / 'GT/LABELS/0000000.png')  # one channel will do
    write_grey_label(synthia / 'GT/LABELS/0000001.png', random_ids(1, 20))
    write_16_bit_label(synthia / 'GT/LABELS/0000002.png', random_ids(1, 2) + 22)
    assert main('synthia', synthia, '--no-prior') == 0
    first, second = sorted(read_defects(synthia / 'defects.json').items, key=lambda defect: defect.image)
    assert (first.image, first.kind) == ('RGB/0000001.png', 'label')
    assert 'a PNG of 8 bits and one channel' in first.detail
    assert (second.image, second.kind, second.detail) == (
        'RGB/0000002.png', 'ids', '0000002.png: ids [23] are not in the map of '
        "ids='synthia' (a 16-bit PNG with SYNTHIA class ids 0 to 22 in its first channel (GT/LABELS))")


def test_all_checksums_are_looked_at(tmp_path):
    """Any bit of a file that is flipped is noticed, except in what follows its end."""
    write_image(tmp_path / 'image.png', 1, (3, 4))
    data = (tmp_path / 'image.png').read_bytes()
    for at in range(len(data)):
        (tmp_path / 'image.png').write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1:])
        with pytest.raises(OSError, match='image.png: '):
            pairs.check_png(str(tmp_path / 'image.png'))
    (tmp_path / 'image.png').write_bytes(data + b'more')
    assert pairs.check_png(str(tmp_path / 'image.png')) == (4, 3)


def refuse_to_read(monkeypatch, end, number):
    """Make `open` fail for a file as it does without permission: root, who may run the tests, has all permissions."""
    real = builtins.open

    def fail(file, *args, **kwargs):
        if not isinstance(file, int) and os.fspath(file).endswith(end):
            raise OSError(number, os.strerror(number), os.fspath(file))  # becomes a PermissionError by its number
        return real(file, *args, **kwargs)
    monkeypatch.setattr(builtins, 'open', fail)


@pytest.mark.parametrize(('kind', 'number', 'message'), [
    ('images', errno.EACCES, 'images/00003.png: no permission to read this file; change its permissions (chmod)'),
    ('labels', errno.EACCES, 'labels/00003.png: no permission to read this file; change its permissions (chmod)'),
    ('images', errno.EIO, 'images/00003.png')], ids=['image', 'label', 'bad sector'])
def test_files_that_the_machine_cannot_read_are_no_defects(gta, monkeypatch, capsys, kind, number, message):
    with monkeypatch.context() as patch:
        refuse_to_read(patch, f'{kind}/00003.png', number)
        assert main('gta', gta) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert 'what is done is kept: run the same command again' in printed.err
    assert read_defects(gta / 'defects.json').items == ()
    looked_at, real = [], pairs._read_pair
    monkeypatch.setattr(pairs, '_read_pair', lambda pair, **k: (looked_at.append(str(pair)), real(pair, **k))[1])
    assert main('gta', gta) == 0
    assert looked_at == ['images/00003.png']  # the others were kept
    assert 'counted in 7 labels' in capsys.readouterr().out


def test_a_file_in_use(gta, monkeypatch, capsys):
    real = pairs._find_defect

    def slowly(pair, *arguments):
        if str(pair).endswith('00003.png'):
            write_palette_label(gta / 'labels/00003.png', random_ids(77, 35))  # while it is still being copied
        return real(pair, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pairs, '_find_defect', slowly)
        assert main('gta', gta) == 1
    assert 'images/00003.png: this file or its label is in use: it changed while it was read' in capsys.readouterr().err
    assert main('gta', gta) == 0


def test_two_runs_at_once(gta):
    assert main('gta', gta) == 0
    write_image(gta / 'images/00003.png', 55)
    with locked(gta / '.prepared/.lock'):
        assert f'is in use by another preparation (process {os.getpid()} on ' in main('gta', gta)
    assert main('gta', gta) == 0


MESSAGES = {errno.ENOSPC: 'the disk is full .* free some space', errno.EACCES: 'no permission to write',
        errno.EROFS: 'the disk is read-only'}
FILES = ('scan.json', 'defects.json', 'sample_class_stats.json', 'gta.npz', 'prior.npz', '.cache', 'state.json',
         '_labelTrainIds.png')


@pytest.mark.parametrize(('file', 'number'), [
    *((file, errno.ENOSPC) for file in FILES), ('defects.json', errno.EACCES), ('gta.npz', errno.EROFS)])
def test_a_disk_that_takes_no_more(gta, tmp_path, monkeypatch, file, number):
    """Whichever file it is: the error says what to do, no half file is left, and old content stays."""
    arguments = ['gta', gta, '--config', write_config(tmp_path), '--cache', '--train-ids']
    assert main(*arguments) == 0
    write_image(gta / 'images/00003.png', 55)
    write_palette_label(gta / 'labels/00003.png', random_ids(55, 35))
    truncate(gta / 'labels/00004.png')
    old = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.name.endswith(file)}
    with monkeypatch.context() as patch:
        refuse_to_write(patch, file, number)
        assert re.match(f'error: .*{file}: {MESSAGES[number]}', main(*arguments))
    assert {path: path.read_bytes() for path in old} == old
    assert not list(tmp_path.rglob('*.partial'))
    fresh = tmp_path / 'fresh/gta'
    for kind in ('images', 'labels'):
        shutil.copytree(gta / kind, fresh / kind, ignore=shutil.ignore_patterns('*TrainIds*'))
    resumed, expected = (digests('gta', root, tmp_path / 'config.py') for root in (gta, fresh))
    assert resumed == expected
    assert set(resumed) == {'defects', 'statistics', 'prior', f'cache {next((fresh / "cache").iterdir()).name}'}


def refuse_to_write(patch, file, number):
    """Writing a file whose name has this end fails half-way."""
    real = Path.open

    def fail(path, *arguments, **options):
        opened = real(path, *arguments, **options)
        return half_written(opened, number) if path.name.endswith('.partial') and f'{file}.' in path.name else opened
    patch.setattr(Path, 'open', fail)


@contextmanager
def half_written(file, number):
    """A file on a disk that is full after half of the content."""
    def write(data):
        file.write(data[:len(data) // 2])
        raise OSError(number, os.strerror(number))
    with file:
        yield SimpleNamespace(write=write)
