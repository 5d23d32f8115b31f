"""The cache: it changes no sample, is rebuilt for changed files, and reports damage."""

# ruff: noqa: NPY002 (transforms draw from NumPy's global generator)
import errno
import os
import shutil
import signal
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mmseg_camix.cache import Cached, CacheError, Entry, Recipe, build_cache, verify_cache
from mmseg_camix.datasets import (
    GTADataset,
    LongTailDataset,
    PairedDataset,
    Position,
    RareClassDataset,
    RawCityscapesDataset,
    SYNTHIADataset,
)
from mmseg_camix.datasets.fixed_part import length_of_fixed_part
from mmseg_camix.datasets.scanning import forking_opencv
from mmseg_camix.files import CannotWrite, _host
from tests.datasets.tiny import write_image

LOAD, LABELS, PACK = dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='PackUDAInputs')
BILINEAR = dict(type='Resize', scale=(34, 18))
BICUBIC = dict(type='Resize', scale=(34, 18), interpolation='bicubic', backend='pillow')
CROP, FLIP = dict(type='RecordedRandomCrop', crop_size=(9, 11)), dict(type='RandomFlip', prob=0.5)
VARIED = dict(CROP, cat_max_ratio=0.3)
PIPELINE = [LOAD, LABELS, BILINEAR, CROP, PACK]


def reader(root, pipeline=PIPELINE, **options):
    return GTADataset(str(root), pipeline=pipeline, **options)


def built(dataset, pipeline=PIPELINE, **options):
    """Build the cache of a dataset for this pipeline."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    first = pipeline[:length_of_fixed_part(pipeline)]
    root = Path(dataset.data_root)
    return build_cache(infos, Recipe.of(first, infos[0]), str(root), root / 'cache', **options)


def assert_same(actual, expected):
    assert (actual['inputs'] == expected['inputs']).all()
    samples = actual['data_samples'], expected['data_samples']
    assert samples[0].metainfo == samples[1].metainfo
    assert ('gt_sem_seg' in samples[0]) == ('gt_sem_seg' in samples[1])
    if 'gt_sem_seg' in samples[0]:
        assert (samples[0].gt_sem_seg.data == samples[1].gt_sem_seg.data).all()


PIPELINES = {
    'cv2': PIPELINE,
    'pillow, flip': [LOAD, LABELS, BICUBIC, CROP, FLIP, PACK],
    'pillow, antialiased': [LOAD, dict(BICUBIC, interpolation='bilinear'), CROP, PACK],
    'varied crops': [LOAD, LABELS, BILINEAR, VARIED, FLIP, PACK],
    'flip before the crop': [LOAD, LABELS, BILINEAR, FLIP, CROP, PACK],
    'no crop': [LOAD, LABELS, BILINEAR, dict(type='EvaluateAtResizedShape'), PACK],
    'label at its own size': [LOAD, BILINEAR, LABELS, PACK],
    'no resize': [LOAD, LABELS, CROP, PACK],
    'unlabelled': [LOAD, BILINEAR, CROP, PACK],
    'by a factor': [LOAD, LABELS, dict(type='Resize', scale_factor=1.5, keep_ratio=True), CROP, PACK],
    'writes into its input': [LOAD, LABELS, BILINEAR, dict(type='RandomCutOut', prob=1, n_holes=3, cutout_shape=(5, 5)),
                              PACK],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_samples_are_the_same(gta, name):
    pipeline = PIPELINES[name]
    plain = reader(gta, pipeline)
    report = built(plain, pipeline)
    assert (report.num_written, report.failures) == (7, [])
    cached = reader(gta, pipeline, cache='cache')
    assert type(cached.pipeline.transforms[0]) is Cached
    for index, seed in product(range(7), range(3)):
        np.random.seed(seed)
        expected, after = plain[index], np.random.randint(1 << 30)
        np.random.seed(seed)
        assert_same(cached[index], expected)
        assert np.random.randint(1 << 30) == after  # as many draws


def test_every_key_of_the_results_is_the_same(synthia):
    first = [LOAD, LABELS, BICUBIC]
    plain = SYNTHIADataset(str(synthia), pipeline=first)
    built(plain, first)
    cached = SYNTHIADataset(str(synthia), pipeline=first, cache='cache')
    for index in range(3):
        expected, actual = plain[index], cached[index]
        assert expected.keys() == actual.keys()
        for key, value in expected.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(actual[key], value)
                assert (actual[key].dtype, actual[key].flags.writeable) == (value.dtype, True)
            else:
                assert (actual[key], type(actual[key])) == (value, type(value))


def test_fewer_classes_have_a_cache_of_their_own(gta):
    some = dict(classes=('road', 'car', 'sky'))
    plain, other = reader(gta), reader(gta, metainfo=some)
    folders = {built(dataset).folder for dataset in (plain, other)}
    assert len(folders) == 2
    cached = reader(gta, metainfo=some, cache='cache')
    np.random.seed(0)
    expected = other[2]
    np.random.seed(0)
    assert_same(cached[2], expected)
    assert set(np.unique(expected['data_samples'].gt_sem_seg.data)) <= {0, 1, 2, 255}


def test_with_everything_that_reads_samples(gta, cityscapes):
    """Pairs, rare-class sampling, long-tail patches: the same at every position."""
    wanted = [LOAD, LABELS, BILINEAR, dict(type='CropWithClass', crop_size=(9, 11)), PACK]
    target = [LOAD, BILINEAR, CROP, FLIP, PACK]
    pairs = []
    for cache in ('', 'cache'):
        source = reader(gta, cache=cache)
        pairs.append(PairedDataset(
            source=RareClassDataset(source, min_pixels=5, temperature=1.0), tail=LongTailDataset(
                reader(gta, wanted, cache=cache), classes=3),
            target=RawCityscapesDataset(str(cityscapes), dict(img_path='leftImg8bit/train'), pipeline=target,
                                        cache=cache)))
        if not cache:
            built(source)
            built(pairs[0].datasets['target'], target)
    for position in range(12):
        first, second = (pair[Position(4, position)] for pair in pairs)
        for branch in first:
            assert_same(first[branch], second[branch])


def test_it_is_built_once_and_again_where_something_changed(gta, tmp_path):
    dataset = reader(gta)
    first = built(dataset, jobs=2)
    shutil.copytree(gta, tmp_path / 'copy', copy_function=shutil.copy, ignore=shutil.ignore_patterns('cache'))
    assert built(reader(tmp_path / 'copy')).digest == first.digest  # of the pixels, not of the times of change
    second = built(dataset)
    assert (first.num_written, second.num_written, second.num_removed) == (7, 0, 0)
    assert (second.digest, second.size) == (first.digest, first.size)
    assert first.size == sum(path.stat().st_size for path in first.folder.rglob('*.cache'))
    write_image(gta / 'images/00003.png', 33)
    (entry := sorted(first.folder.rglob('*.cache'))[5]).write_bytes(entry.read_bytes()[:-4])
    os.utime(gta / 'labels/00001.png', ns=(1, 1))
    changed = built(dataset)
    assert changed.num_written == 3
    differ = {name for name, digest in changed.digests.items() if first.digests[name] != digest}
    assert differ == {'images/00003.png.cache'}
    (gta / 'images/00004.png').unlink()
    (gta / 'labels/00004.png').unlink()
    left = built(reader(gta))
    assert (left.num_written, left.num_removed, len(left.digests)) == (0, 1, 6)


def test_changed_sources_and_missing_entries_are_errors(gta):
    dataset = reader(gta)
    report = built(dataset)
    cached = reader(gta, cache='cache')
    write_image(gta / 'images/00001.png', 99)
    with pytest.raises(CacheError, match=r'00001.png or its label has changed since; update the cache by mmseg'):
        cached[0]
    (report.folder / 'images/00002.png.cache').unlink()
    with pytest.raises(CacheError, match=r'00002.png.cache: not in the cache; rebuild it by mmseg-camix cache'):
        cached[1]
    assert cached[2]['inputs'].shape == (3, 9, 11)


@pytest.mark.parametrize(('damage', 'message'), [
    (lambda data: data[:-1], 'its length differs'),
    (lambda data: b'', 'not a file of this cache'),
    (lambda data: b'x' + data, 'not a file of this cache'),
    (lambda data: data[:40] + b'\xff' + data[41:], 'its header is unreadable'),
    (lambda data: data[:-60] + b'\xff\0\xff' + data[-57:], 'a tile of its image is damaged'),
])
def test_damaged_entries(gta, damage, message):
    dataset = reader(gta)
    report = built(dataset)
    path = report.folder / 'images/00002.png.cache'
    path.write_bytes(damage(path.read_bytes()))
    cached = reader(gta, cache='cache')
    with pytest.raises(CacheError, match=rf'00002.png.cache: {message}.*; rebuild it by mmseg-camix cache'):
        cached[1]
    assert verify_cache(report) == [path]
    mended = built(dataset, rebuild=[path])
    assert mended.num_written == 1
    assert verify_cache(mended, jobs=2) == []


def test_a_damaged_label(gta):
    dataset = reader(gta)
    path = built(dataset).folder / 'images/00002.png.cache'
    entry, data = Entry(path), bytearray(path.read_bytes())
    data[entry._label_start + 30] ^= 255
    path.write_bytes(data)
    with pytest.raises(CacheError, match='its label is damaged'):
        Entry(path).label()
    assert not Entry(path).is_intact()


def test_another_resize_has_no_cache(gta):
    built(reader(gta))
    other = [LOAD, LABELS, BICUBIC, CROP, PACK]
    with pytest.raises(CacheError, match=r'there is no cache for .*bicubic.* \(there are: 34x18-\w+\); build it by'):
        reader(gta, other, cache='cache')
    with pytest.raises(CacheError, match=r'there are: none'):
        reader(gta, other, cache='elsewhere')


def test_what_cannot_be_cached(gta, tmp_path):
    with pytest.raises(ValueError, match="does not begin with configs of transforms that load"):
        reader(gta, [PACK], cache='cache')
    with pytest.raises(ValueError, match='must only load and resize'):
        Cached([LOAD, CROP], root=str(gta))
    floats = [dict(LOAD, to_float32=True), BILINEAR, CROP, PACK]
    report = built(reader(gta, floats), floats)
    assert 'is float32, but the cache stores uint8' in report.failures[0]
    dataset = reader(gta)
    infos = [dataset.get_data_info(0)]
    with pytest.raises(CacheError, match='does not lie below'):
        build_cache(infos, Recipe.of(PIPELINE[:3], infos[0]), str(tmp_path / 'other'), tmp_path)


def test_unreadable_images_are_reported_and_the_others_cached(gta):
    (gta / 'images/00002.png').write_bytes(b'')
    report = built(reader(gta), jobs=2)
    assert report.num_written == 6
    assert len(report.failures) == 1
    assert '00002.png: the file is empty' in report.failures[0]


@pytest.mark.parametrize('jobs', [1, 2])
@pytest.mark.parametrize(('number', 'reason'), [
    (errno.ENOSPC, 'the disk is full'), (errno.EROFS, 'the disk is read-only'),
    (errno.EACCES, 'no permission to write')])
def test_a_full_disk_ends_the_run_and_nothing_is_lost(gta, monkeypatch, number, reason, jobs):
    dataset = reader(gta)
    expected = built(dataset)
    write_image(gta / 'images/00003.png', 33)
    old = (expected.folder / 'images/00003.png.cache').read_bytes()
    (expected.folder / 'images/00006.png.cache').unlink()
    real = Path.replace

    def refuse(path, target):
        if str(target).endswith('.cache'):
            raise OSError(number, os.strerror(number))
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', refuse)
        with pytest.raises(CannotWrite, match=rf'\.cache: {reason}'):
            built(dataset, jobs=jobs)
    assert (expected.folder / 'images/00003.png.cache').read_bytes() == old
    assert not list(expected.folder.rglob('*.partial'))
    assert built(dataset).num_written == 2


def test_a_kill_leaves_whole_entries_and_the_next_run_completes(gta):
    expected = built(reader(gta))
    shutil.rmtree(expected.folder)
    with forking_opencv():
        process = os.fork()
    if process == 0:  # the child dies while it writes its third entry
        real, calls = Path.replace, iter(range(10))
        Path.replace = lambda path, target: (next(calls) == 3 and os.kill(os.getpid(), signal.SIGKILL),
                                             real(path, target))[1]
        built(reader(gta))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert len(list(expected.folder.rglob('*.partial'))) == 1  # the kill did come in the middle
    report = built(reader(gta))
    assert (report.num_written, report.digest) == (5, expected.digest)
    assert not list(expected.folder.rglob('*.partial'))


def test_another_run_at_the_same_time_keeps_its_partial_files(gta):
    writers = [f'.x.cache.{_host()}-{pid}-0a.partial' for pid in (os.getppid(), 2**22 + 1)]  # a live process, and none
    folder = built(reader(gta)).folder / 'images'
    for name in writers:
        (folder / name).write_bytes(b'half')
    built(reader(gta))
    assert [(folder / name).exists() for name in writers] == [True, False]


def test_a_file_that_changes_while_it_is_read(gta, monkeypatch):
    from mmseg_camix.cache import building
    real = building.run_transforms

    def slowly(transforms, info):
        if info['img_path'].endswith('00002.png'):
            write_image(gta / 'images/00002.png', 77)  # while it is still being copied
        return real(transforms, info)

    monkeypatch.setattr(building, 'run_transforms', slowly)
    report = built(reader(gta))
    assert report.num_written == 6
    assert '00002.png: this file or its label changed while it was read' in report.failures[0]
