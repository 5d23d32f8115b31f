"""Dead workers, damaged checkpoints, unreadable images: logged or raised, and resumed exactly."""

import io
import multiprocessing
import os
import signal
import time
import zipfile
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from benchmarks.same_run import differences
from mmseg_camix.checkpoint import CheckpointError, DamagedCheckpointError, read_checkpoint
from mmseg_camix.datasets import SampleError
from mmseg_camix.engine.hooks.uda_hook import COUNTS
from mmseg_camix.engine.loops import WorkerDiedError
from tests.engine.test_resume import StopAt, Stopped, begun, log_of, train, training
from tests.world import make_world


@pytest.fixture
def own_world(tmp_path):
    """Data that a test may damage."""
    return make_world(tmp_path / 'world')


@pytest.fixture(scope='module')
def undisturbed(world, tmp_path_factory):
    """A config and the folder of its uninterrupted training."""
    folder = tmp_path_factory.mktemp('undisturbed')
    cfg = training(world, folder)
    train(cfg, folder / 'whole')
    return cfg, folder / 'whole'


class KillWorker(Hook):
    """As the kernel does when memory runs out."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 4:
            os.kill(runner.train_loop.dataloader_iterator._iterator._workers[0].pid, signal.SIGKILL)
            time.sleep(5)  # until torch notices; the few remaining iterations might be over before


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs workers that are forked')
def test_a_worker_that_is_killed(undisturbed, tmp_path):
    cfg, whole = undisturbed
    cfg = training(cfg.data_root, tmp_path, workers=2)
    with pytest.raises(WorkerDiedError, match=r'worker \(pid.* out of memory.*num_workers.*--resume continues exactly'):
        train(cfg, tmp_path / 'parts', hooks=[KillWorker()])
    assert not (tmp_path / 'parts/iter_6.pth').exists()
    train(cfg, tmp_path / 'parts', resume=True)
    assert differences(whole, tmp_path / 'parts') == []


@pytest.mark.parametrize('resume', [False, True])
def test_a_worker_that_is_killed_while_it_hands_over(undisturbed, tmp_path, monkeypatch, resume):
    """What torch raises depends on the moment; a broken connection to live workers is passed on."""
    cfg = training(undisturbed[0].data_root, tmp_path, workers=2)
    for name in ('killed', 'alive'):
        if resume:
            begun(undisturbed[1], tmp_path / name)
    alive = []

    def reset(self):
        if not alive:
            for worker in self._workers:
                os.kill(worker.pid, signal.SIGKILL)
        raise ConnectionResetError('reset by peer')

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, '_next_data', reset)
    with pytest.raises(WorkerDiedError, match=r'worker \(pid.*reset by peer.*out of memory.*--resume continues'):
        train(cfg, tmp_path / 'killed', resume)
    alive.append(True)
    with pytest.raises(ConnectionResetError):
        train(cfg, tmp_path / 'alive', resume)


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize('persistent', [False, True])
def test_no_worker_outlives_its_training(undisturbed, tmp_path, persistent, resume):
    cfg, whole = undisturbed
    cfg = training(cfg.data_root, tmp_path, workers=2)
    cfg.train_dataloader.persistent_workers = persistent
    for name in ('failed', 'ended'):
        if resume:
            begun(whole, tmp_path / name)
    before = multiprocessing.active_children()
    with pytest.raises(Stopped):
        train(cfg, tmp_path / 'failed', resume, hooks=[StopAt(4)])
    runner = train(cfg, tmp_path / 'ended', resume)
    assert set(multiprocessing.active_children()) <= set(before)
    assert differences(whole, tmp_path / 'ended') == []
    batches = iter(runner.train_dataloader)  # the loader can be used again
    assert next(batches)
    batches._shutdown_workers()


def test_a_damaged_checkpoint_by_name(undisturbed, tmp_path):
    """It is an error, and not replaced by another one; so is a folder without any whole checkpoint."""
    cfg, whole = undisturbed
    parts = begun(whole, tmp_path / 'parts')
    file = parts / 'iter_3.pth'
    content = file.read_bytes()
    for damaged in (content[:len(content) // 2], _with_another_byte(content)):
        file.write_bytes(damaged)
        with pytest.raises(DamagedCheckpointError, match='iter_3.pth was not opened.*Take an earlier one.*`--resume`'):
            read_checkpoint(file)
        with pytest.raises(CheckpointError, match='no other checkpoint in .* is whole'):
            train(cfg, parts, resume=True)


def _with_another_byte(content: bytes) -> bytes:
    """One byte changed within the largest tensor, which torch would not notice; padding between tensors may change."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        start = content.index(archive.read(largest))
    changed = bytearray(content)
    changed[start + largest.file_size // 2] ^= 1
    return bytes(changed)


def spoil(world, kind, number):
    """Change a byte of an image, or cut off the end of a label."""
    file = world / f'gta/{kind}/{number:05}.png'
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data if kind == 'images' else data[:-20])
    return file


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_is_damaged_in_mid_epoch(own_world, undisturbed, tmp_path, workers):
    """The training stops with its name; repaired, it resumes exactly."""
    _, whole = undisturbed
    cfg = training(own_world, tmp_path, workers=workers)
    parts = begun(whole, tmp_path / 'parts')
    content = {file: file.read_bytes() for file in (own_world / 'gta/images').iterdir()}
    for number in range(5):
        spoil(own_world, 'images', number)
    with pytest.raises(SampleError, match=r'gta/images/0000\d.png: the image is damaged.*unpack or download'):
        train(cfg, parts, resume=True)
    for file, data in content.items():
        file.write_bytes(data)
    train(cfg, parts, resume=True)
    assert differences(whole, parts) == []


@pytest.mark.parametrize('kind', ['images', 'labels'])
def test_unreadable_images_are_replaced_on_request(own_world, tmp_path, kind):
    """Named once, counted as often as it comes up, and the same with any number of workers and after resuming."""
    cfg = training(own_world, tmp_path)
    cfg.train_dataloader.dataset.skip_unreadable = True
    bad = [spoil(own_world, kind, number) for number in (1, 3)]
    train(cfg, tmp_path / 'whole')
    info = read_checkpoint(tmp_path / 'whole/iter_6.pth')['message_hub']['runtime_info']
    counts = {Path(text.split(':')[0]): count for text, count in info[COUNTS].items()}
    # 12 positions: each of the five images comes up two or three times.
    assert set(counts) == set(bad)
    assert all(2 <= count <= 3 for count in counts.values())
    log = log_of(tmp_path / 'whole')
    for file in bad:
        assert log.count(f'{file}: the') == 2  # when first met, and in the summary at the end
    assert f'{sum(counts.values())} samples could not be read' in log
    assert log.count('unreadable: ') == 6 - log.split('replaces it')[0].count('Iter(train)')
    cfg.train_dataloader.num_workers = 2
    train(cfg, begun(tmp_path / 'whole', tmp_path / 'parts'), resume=True)
    assert differences(tmp_path / 'whole', tmp_path / 'parts') == []


def test_a_disk_that_is_gone_is_not_skipped(own_world, tmp_path):
    cfg = training(own_world, tmp_path)
    cfg.train_dataloader.dataset.skip_unreadable = True
    (own_world / 'gta/images').rename(own_world / 'gta/elsewhere')
    (own_world / 'gta/images').mkdir()
    for file in (own_world / 'gta/elsewhere').iterdir():
        (own_world / 'gta/images' / file.name).touch()
    with pytest.raises(SampleError, match='the file is empty.*10 other samples tried in its place cannot be read'):
        train(cfg, tmp_path / 'run')


def test_a_wrong_config_is_not_skipped(own_world, tmp_path):
    cfg = training(own_world, tmp_path)
    cfg.train_dataloader.dataset.skip_unreadable = True
    cfg.train_dataloader.dataset.source.ids = 'synthia'
    with pytest.raises(SampleError, match="a 16-bit PNG with SYNTHIA class ids .* is expected.*ids='synthia'"):
        train(cfg, tmp_path / 'run')
