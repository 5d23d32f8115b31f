"""The benchmark of the input: it refuses unequal pixels, takes turns, and its formats are lossless."""

from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_camix.analysis import input_formats, input_photos
from mmseg_camix.analysis.input_timing import InputTiming, as_in_mmseg, interleaved, refuse_other_pixels, time_input
from tests.datasets.tiny import write_grey_label
from tests.preparation.preparing import make_gta

PIPELINE = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(34, 18)),
            dict(type='RecordedRandomCrop', crop_size=(9, 11), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5), dict(type='PackUDAInputs')]


@pytest.fixture
def config(tmp_path):
    return dict(type='GTADataset', data_root=str(make_gta(tmp_path / 'gta', 3)), pipeline=PIPELINE)


def test_the_three_ways_of_a_config(config):
    timing = time_input('gta', config, 'gta', rounds=3)
    assert timing.seconds.shape == (3, 3)
    assert (timing.seconds > 0).all()
    assert timing.cache_bytes > 500


def test_mmsegs_own_pipeline_is_what_is_compared_with(config):
    dataset = as_in_mmseg(config, 'gta')
    names = [f'{type(t).__module__.split(".")[0]}.{type(t).__name__}' for t in dataset.pipeline.transforms]
    assert names == ['mmcv.LoadImageFromFile', 'mmseg.LoadAnnotations', 'mmseg.Resize', 'mmseg.RandomCrop',
                     'mmseg.RandomFlip', 'mmseg.PackSegInputs']
    assert len(dataset) == 3


def test_unequal_pixels_are_refused(config):
    reference, plain = as_in_mmseg(config, 'gta'), DATASETS.build(config)
    refuse_other_pixels((reference, plain, plain))
    bicubic = [*PIPELINE[:2], dict(PIPELINE[2], interpolation='bicubic'), *PIPELINE[3:]]
    for i in range(1, 4):
        write_grey_label(Path(config['data_root'], f'labels/{i:05}_other.png'), np.full((12, 20), 7))
    for other in (dict(config, pipeline=bicubic), dict(config, seg_map_suffix='_other.png')):
        with pytest.raises(AssertionError, match='other pixels than mmseg gives: cache'):
            refuse_other_pixels((reference, plain, DATASETS.build(other)))


def test_turns_have_the_same_draws():
    seen = [[], []]
    functions = [lambda index, mine=mine: mine.append((index, np.random.random())) for mine in seen]  # noqa: NPY002
    seconds = interleaved(functions, images=2, rounds=3)
    assert seconds.shape == (3, 2)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2 * 4  # one round to warm up
    assert len({draw for _, draw in seen[0]}) == 8


def test_table_by_hand():
    timing = InputTiming('title', np.array([[0.1, 0.05, 0.01], [0.2, 0.05, 0.02], [0.1, 0.1, 0.01]]))
    assert timing.row() == '| title | 10.0 | 20.0 | 100.0 | 2.00 x | 10.00 x |'
    assert InputTiming.header().splitlines()[0] == (
        '| | mmseg, images/s | no cache, images/s | cache, images/s | no cache | cache |')
    assert InputTiming.header().splitlines()[1].count('---:') == 5


def test_formats_are_lossless_and_a_lossy_one_is_refused():
    image = np.random.default_rng(0).integers(0, 256, (530, 520, 3)).astype(np.uint8)
    image[:200, :300] = 7
    found = input_formats.codecs()
    assert {'raw', 'PNG', 'WebP, lossless', 'rows, Huffman, ISA-L (chosen)'} <= found.keys()
    for name in ('raw', 'PNG, inflated by ISA-L', 'rows, zlib', 'rows, Huffman, zlib', 'rows, Huffman, ISA-L (chosen)'):
        size, write, read = input_formats.measure(image, found[name], rounds=1)
        assert size > 0 < write
        assert read > 0
    write, read = found['raw']
    with pytest.raises(AssertionError, match='not lossless'):
        input_formats.measure(image, (write, lambda data, size: read(data, size) // 2 * 2), rounds=1)


def test_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(input_photos, 'SIZES', dict(gta=(64, 36), cityscapes=(64, 32)))
    input_photos.write_photos(tmp_path, 1)
    files = {path.relative_to(tmp_path).as_posix(): path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    assert len(files) == 4
    input_photos.write_photos(tmp_path, 1)
    assert {path.relative_to(tmp_path).as_posix(): path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')} == files
    flat = np.full((200, 200, 3), 100, np.uint8)
    noise = input_photos.photograph(flat, 0).astype(float) - 100
    assert noise.std() == pytest.approx(input_photos.NOISE, rel=0.1)
