"""Rare-class sampling: probabilities by the formula, draws by counting, crops by looking."""

# ruff: noqa: NPY002 (transforms draw from NumPy's global generator)
import math
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_camix.datasets import (
    GTADataset,
    LongTailDataset,
    PairedDataset,
    Position,
    RareClassDataset,
    RawCityscapesDataset,
    rare_class,
)
from mmseg_camix.datasets.class_counts import class_counts
from mmseg_camix.datasets.rare_class import rare_class_probabilities
from mmseg_camix.datasets.transforms import LoadIdLabels, LoadImage, RecordedRandomCrop
from mmseg_camix_tools.preparation.class_stats import collect
from mmseg_camix_tools.preparation.conversion import convert

from .tiny import random_ids, write_image, write_palette_label

SIZE = (24, 32)
ROAD, CAR, RIDER = 7, 26, 25  # raw ids
PIPELINE = [dict(type='LoadImage'), dict(type='LoadIdLabels'),
            dict(type='RecordedRandomCrop', crop_size=(12, 12)), dict(type='PackUDAInputs')]


@pytest.fixture
def root(tmp_path):
    """Six images of road; a car in every second, a rider in the last."""
    for i in range(6):
        write_image(tmp_path / f'images/{i:05}.png', i, SIZE)
        ids = np.full(SIZE, ROAD)
        if i % 2:
            ids[:10, :10] = CAR
        if i == 5:
            ids[14:20, 22:30] = RIDER
        write_palette_label(tmp_path / f'labels/{i:05}.png', ids)
    collect('gta', tmp_path)
    return tmp_path


def plain(root):
    return dict(type='GTADataset', data_root=str(root), pipeline=PIPELINE)


def rare(root, **arguments):
    arguments = dict(dict(stats=str(root / 'sample_class_stats.json'), min_pixels=20, temperature=0.1), **arguments)
    return RareClassDataset(plain(root), **arguments)


def test_probabilities_by_the_formula():
    pixels, temperature = [700, 0, 250, 50], 0.2
    weights = [math.exp((1 - n / 1000) / temperature) if n else 0.0 for n in pixels]
    expected = [w / sum(weights) for w in weights]
    np.testing.assert_allclose(rare_class_probabilities(np.array(pixels), temperature), expected)
    # The papers' T = .01 neither overflows nor loses the sum.
    sharp = rare_class_probabilities(np.array([10**9, 10**6, 10**3]), 0.01)
    assert sharp.sum() == pytest.approx(1)
    assert sharp[2] > sharp[1] > 0.4 > sharp[0]


def test_draws_follow_the_probabilities(root):
    dataset = rare(root, tries=0, temperature=0.5)
    np.random.seed(0)
    names = [dataset[0]['data_samples'].rare_class for _ in range(400)]
    for index, name in enumerate(dataset.metainfo['classes']):
        expected = dataset.probabilities[index]
        assert names.count(name) / 400 == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 400))
    assert {'road', 'car', 'rider'} == set(names)


def test_crops_are_drawn_until_the_class_is_in_them(root):
    np.random.seed(1)
    shares = {}
    for tries in (0, 10):
        dataset = rare(root, tries=tries)
        names, samples = dataset.metainfo['classes'], [dataset[0]['data_samples'] for _ in range(150)]
        shares[tries] = np.mean([int((sample.gt_sem_seg.data == names.index(sample.rare_class)).sum()) > 10
                                 for sample in samples])
    assert shares[10] > 0.9 > 0.8 > shares[0]


def test_within_paired_data_a_position_decides(root):
    target = GTADataset(data_root=str(root), pipeline=PIPELINE)
    samples = []
    for seed, order in ((5, range(8)), (6, reversed(range(8)))):
        pairs = PairedDataset(rare(root), target)
        assert len(pairs) == 6
        np.random.seed(seed)
        by_position = {position: pairs[Position(3, position)]['source'] for position in order}
        samples.append([by_position[position] for position in range(8)])
    for a, b in zip(*samples):
        assert (a['inputs'] == b['inputs']).all()
        assert a['data_samples'].img_path == b['data_samples'].img_path
    assert len({a['data_samples'].img_path for a in samples[0]}) > 1


def count_calls(monkeypatch, *transforms):
    """Count the calls of transforms from now on, by name."""
    calls = Counter()
    for transform in transforms:
        monkeypatch.setattr(transform, 'transform', lambda self, results, original=transform.transform: (
            calls.update([type(self).__name__]), original(self, results))[1])
    return calls


def slowly(dataset, image, wanted):
    """What repeat_sample saves: the whole pipeline for every try."""
    for _ in range(dataset.tries + 1):
        sample = dataset.dataset[image]
        if int((sample['data_samples'].gt_sem_seg.data == wanted).sum()) > dataset.needed:
            break
    return sample


@pytest.mark.parametrize('change', [
    [], [dict(type='RandomFlip', prob=0.5)],
    [dict(type='RandomCutOut', prob=0.9, n_holes=2, cutout_shape=(4, 4), seg_fill_in=255)]])  # writes into its input
def test_crops_are_drawn_again_without_loading_again(root, change, monkeypatch):
    dataset = rare(root, tries=8, min_pixels=40)
    pipeline = [*PIPELINE[:2], dict(type='Resize', scale=(30, 26)), PIPELINE[2], *change, PIPELINE[3]]
    dataset.dataset = GTADataset(data_root=str(root), pipeline=pipeline)
    for seed in range(12):
        np.random.seed(seed)
        sample = dataset[0]
        after = np.random.randint(1 << 30)
        np.random.seed(seed)
        wanted = int(np.random.choice(dataset._classes, p=dataset._chances))
        expected = slowly(dataset, int(np.random.choice(dataset.images[wanted])), wanted)
        assert after == np.random.randint(1 << 30)
        assert (sample['inputs'] == expected['inputs']).all()
        assert (sample['data_samples'].gt_sem_seg.data == expected['data_samples'].gt_sem_seg.data).all()
        assert sample['data_samples'].crop_box == expected['data_samples'].crop_box
    calls = count_calls(monkeypatch, LoadImage, LoadIdLabels, RecordedRandomCrop)
    for _ in range(10):
        dataset[0]
    assert calls['LoadImage'] == calls['LoadIdLabels'] == 10
    assert calls['RecordedRandomCrop'] > 20


@pytest.mark.parametrize(('crop_share', 'crops'), [(-1.0, 1), (1e6, 4)])
def test_how_much_of_the_class_a_crop_needs(root, crop_share, crops, monkeypatch):
    calls = count_calls(monkeypatch, RecordedRandomCrop)
    dataset = rare(root, crop_share=crop_share, tries=3)
    for _ in range(5):
        dataset[0]
    assert calls['RecordedRandomCrop'] == 5 * crops


def test_a_class_without_images_is_not_drawn(root, monkeypatch):
    logged = []
    monkeypatch.setattr(rare_class, 'print_log', lambda message, *args: logged.append(message))
    assert rare(root, min_pixels=47).images.keys() > {rare(root).metainfo['classes'].index('rider')}
    assert not logged
    dataset = rare(root, min_pixels=48)  # the rider has 48 pixels, and more are asked for
    assert any('48 pixels of rider; they are not drawn' in message for message in logged)
    rider = dataset.metainfo['classes'].index('rider')
    assert rider not in dataset.images
    np.random.seed(0)
    assert 'rider' not in {dataset[0]['data_samples'].rare_class for _ in range(60)}


def test_wrong_values(root):
    for message, options in (('temperature=0 must be above 0', dict(temperature=0)),
                             ('choose fewer', dict(min_pixels=10**6))):
        with pytest.raises(ValueError, match=message):
            rare(root, **options)
    for content in ('{', '[]', (root / 'samples_with_class.json').read_text()):
        (root / 'sample_class_stats.json').write_text(content)
        with pytest.raises(ValueError, match='sample_class_stats.json: not class statistics'):
            rare(root)


def test_statistics_of_labels_that_have_changed(root):
    for label in (root / 'labels').iterdir():  # as after copying
        os.utime(label, (1e9, 1e9))
    assert len(rare(root)) == 6
    write_palette_label(root / 'labels/00002.png', random_ids(0, 30, SIZE))
    with pytest.raises(ValueError, match='labels/00002.png: has changed since .*stats.json was counted; count again'):
        rare(root)


def test_a_temperature_that_leaves_only_omitted_classes(root):
    with pytest.raises(ValueError, match='temperature=1e-05 leaves only classes of which no image .*min_pixels=50'):
        rare(root, temperature=1e-5, min_pixels=50)  # the rider has 48


@pytest.fixture
def second(root, tmp_path_factory):
    """A copy of the first three images: roads and a car, no rider."""
    return shutil.copytree(root, tmp_path_factory.mktemp('copies') / 'second',
                           ignore=shutil.ignore_patterns('0000[345].png', '*.json'))


def test_joined_data_sets_are_sampled_as_one(root, second):
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=[plain(second), plain(root)]))
    counts = class_counts(joined)
    np.testing.assert_array_equal(counts, [
        *class_counts(DATASETS.build(plain(second))), *class_counts(DATASETS.build(plain(root)))])
    dataset = RareClassDataset(joined, min_pixels=20, temperature=0.1, crop_share=0.1, tries=50)
    car, rider = (dataset.metainfo['classes'].index(name) for name in ('car', 'rider'))
    assert {c: dataset.images[c].tolist() for c in (car, rider)} == {car: [1, 4, 6, 8], rider: [8]}
    np.random.seed(0)
    drawn = [dataset[0]['data_samples'] for _ in range(60)]
    assert all((sample.gt_sem_seg.data == dataset.metainfo['classes'].index(sample.rare_class)).any()
               for sample in drawn)
    assert {sample.img_path for sample in drawn if sample.rare_class == 'rider'} == {str(root / 'images/00005.png')}
    tail = LongTailDataset(joined, classes=['rider'], k=1)
    assert len(tail) == 1
    assert tail[0]['data_samples'].rare_images == [str(root / 'images/00005.png')]
    np.save(root / 'all.npy', counts)
    np.testing.assert_array_equal(class_counts(joined, str(root / 'all.npy')), counts)
    with pytest.raises(ValueError, match='sample_class_stats.json: the statistics of one data set, but 2 are joined'):
        class_counts(joined, str(root / 'sample_class_stats.json'))


@pytest.mark.parametrize('wrapped', [
    lambda root: dict(type='RepeatDataset', times=2, dataset=plain(root)),
    lambda root: dict(type='ConcatDataset', datasets=[
        plain(root), dict(type='RepeatDataset', times=2, dataset=plain(root))])])
def test_wrapped_data_sets_are_refused(root, wrapped):
    for wrapper in (RareClassDataset, LongTailDataset):
        with pytest.raises(ValueError, match='RepeatDataset wraps other data sets, but sampling by class'):
            wrapper(wrapped(root))


def test_statistics_of_labels_with_a_suffix(cityscapes):
    """Cityscapes is a source, too: `*_gtFine_labelIds.png`, and the train ids made from them."""
    collect('cityscapes', cityscapes)
    convert('cityscapes', cityscapes)
    options = dict(data_root=str(cityscapes), data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
                   pipeline=PIPELINE)
    raw = RawCityscapesDataset(**options)
    expected = class_counts(raw)
    assert expected.sum() > 0
    converted = RawCityscapesDataset(**options, ids='train', seg_map_suffix=raw.TRAIN_ID_SUFFIX)
    for dataset in (raw, converted):
        counted = class_counts(dataset, str(cityscapes / 'sample_class_stats.json'))
        np.testing.assert_array_equal(counted, expected)
