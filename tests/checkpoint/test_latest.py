import os
from pathlib import Path

import pytest
import torch

from mmseg_camix.checkpoint import CheckpointError, find_latest_checkpoint, latest, save_checkpoint


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three whole checkpoints and the pointer to the last."""
    for step in (2, 4, 6):
        file = tmp_path / f'iter_{step}.pth'
        save_checkpoint({'state_dict': {'a': torch.rand(100)}}, str(file))
        os.utime(file, (step, step))
    save_checkpoint({'state_dict': {'a': torch.rand(9)}}, str(tmp_path / 'best_mIoU_iter_6.pth'))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_6.pth'))
    return tmp_path


def name(folder: Path) -> str:
    return Path(find_latest_checkpoint(str(folder))).name


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def test_truncated(folder, monkeypatch):
    logged = []
    monkeypatch.setattr(latest, 'print_log', lambda text, *_: logged.append(text))
    cut(folder / 'iter_6.pth')
    assert name(folder) == 'iter_4.pth'
    assert 'iter_6.pth, which last_checkpoint names, is damaged; resuming from' in logged[0]
    (folder / 'iter_4.pth').write_bytes(b'')
    assert name(folder) == 'iter_2.pth'


def test_none_is_whole(folder):
    for file in folder.glob('*.pth'):
        cut(file)
    with pytest.raises(CheckpointError, match='no other checkpoint in .* is whole'):
        find_latest_checkpoint(str(folder))


def test_nothing_there(tmp_path):
    assert find_latest_checkpoint(str(tmp_path)) is None


def test_older_format(folder):
    torch.save({'a': torch.rand(100)}, folder / 'iter_6.pth', _use_new_zipfile_serialization=False)
    assert name(folder) == 'iter_6.pth'
    cut(folder / 'iter_6.pth')
    assert name(folder) == 'iter_4.pth'


@pytest.mark.parametrize(('pointer', 'latest'), [
    ('{}/iter_6.pth', 'iter_6.pth'), ('{}/iter_2.pth', 'iter_2.pth'), ('{}/iter_5.pth', 'iter_6.pth'),
    ('/before/it/was/moved/iter_4.pth', 'iter_4.pth'), ('', 'iter_6.pth'), (None, 'iter_6.pth'),
    ('s3://bucket/iter_6.pth', 's3://bucket/iter_6.pth'), ('http://host/resnet50.pth', 'iter_6.pth'),
    ('torchvision://resnet50', 'iter_6.pth'), ('x' * 300, 'iter_6.pth'), ('\0' * 30, 'iter_6.pth')])
def test_pointer(folder, pointer, latest):
    """Missing files, damaged pointers and downloads are replaced by the newest file; buckets are left to mmengine."""
    file = folder / 'last_checkpoint'
    file.unlink() if pointer is None else file.write_text(pointer.format(folder))
    assert find_latest_checkpoint(str(folder)) == (latest if '://' in latest else str(folder / latest))
