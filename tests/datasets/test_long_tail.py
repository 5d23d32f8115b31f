"""Long-tail class first sampling on tiny files whose classes are known."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, TRANSFORMS

from mmseg_camix.datasets import CLASSES, LongTailDataset, Position
from mmseg_camix.datasets.class_counts import class_counts, count_pixels, counts_from_stats
from mmseg_camix.datasets.long_tail import compose, long_tail
from mmseg_camix.datasets.seeding import seeded
from mmseg_camix_tools.preparation.class_stats import STATS_FILE, collect

from .tiny import LABELLED, write_image, write_palette_label

ROAD, BUILDING, RIDER, BUS, TRAIN = (CLASSES.index(name) for name in ('road', 'building', 'rider', 'bus', 'train'))
RAW = {ROAD: 7, BUILDING: 11, RIDER: 25, BUS: 28, TRAIN: 31}
# Image -> {class: columns}; the rest is road.
CONTENT = [{}, {RIDER: 2}, {RIDER: 1, BUS: 3}, {BUS: 2}, {TRAIN: 1}, {BUILDING: 4}, {BUILDING: 4, BUS: 1}]
SIZE, CROP = (10, 24), (8, 8)


@pytest.fixture
def root(tmp_path):
    for i, content in enumerate(CONTENT):
        ids = np.full(SIZE, RAW[ROAD])
        ids[0] = 0  # void
        at = 3 * i
        for train_id, columns in content.items():
            ids[2:, at:at + columns] = RAW[train_id]
            at += columns
        write_image(tmp_path / f'images/{i:05}.png', i, SIZE)
        write_palette_label(tmp_path / f'labels/{i:05}.png', ids)
    (tmp_path / 'some.txt').write_text(''.join(f'{i:05}\n' for i in range(4)))
    return tmp_path


def reader(root, crop=True, **changes):
    pipeline = [dict(type='LoadImage'), dict(type='LoadIdLabels'),
                *([dict(type='CropWithClass', crop_size=CROP)] if crop else []),
                dict(type='RandomFlip', prob=0.5), dict(type='PackUDAInputs')]
    return dict(dict(type='GTADataset', data_root=str(root), pipeline=pipeline, serialize_data=False), **changes)


def item(dataset, seed=0):
    with seeded(seed):
        return dataset[0]


def label_of(sample):
    return sample['data_samples'].gt_sem_seg.data[0]


def test_frequencies_count_images_not_pixels(root):
    """Eq. 1, by hand."""
    dataset = LongTailDataset(reader(root), classes=2)
    expected = dict.fromkeys(range(19), 0)
    for content in CONTENT:
        for train_id in (ROAD, *content):
            expected[train_id] += 1
    np.testing.assert_allclose(dataset.frequency, [expected[c] / 7 for c in range(19)])
    assert dataset.tail == [TRAIN, BUILDING]  # 1 and 2 images; rider also 2, but later
    assert len(dataset) == 3


def test_long_tail_by_number_and_by_name():
    frequency = np.array([0.9, 0.0, 0.1, 0.5, 0.1])
    assert long_tail(frequency, 3, 'abcde') == [2, 4, 3]
    assert long_tail(frequency, ['d', 'e'], 'abcde') == [4, 3]
    with pytest.raises(ValueError, match=r"no image contains \['b', 'x'\]; classes that occur, rarest first: c, e, d"):
        long_tail(frequency, ('a', 'b', 'x'), 'abcde')
    with pytest.raises(ValueError, match='classes=5 must be between 1 and .* 4'):
        long_tail(frequency, 5, 'abcde')


def test_statistics_of_the_tool_are_those_of_the_labels(root):
    collect('gta', root)
    for changes in (dict(), dict(ann_file='some.txt')):
        dataset = DATASETS.build(reader(root, **changes))
        dataset.full_init()
        np.testing.assert_array_equal(counts_from_stats(dataset, str(root / STATS_FILE)), count_pixels(dataset))
    assert count_pixels(dataset)[2, RIDER] == 8
    np.save(root / 'counts.npy', count_pixels(dataset))
    for stats in (str(root / 'counts.npy'), '', None):
        np.testing.assert_array_equal(class_counts(dataset, stats), count_pixels(dataset))
    np.save(root / 'counts.npy', count_pixels(dataset)[1:])
    with pytest.raises(ValueError, match='but the dataset has .images, classes. .* count again'):
        class_counts(dataset, str(root / 'counts.npy'))
    with_stats = LongTailDataset(reader(root), stats=str(root / STATS_FILE))
    np.testing.assert_array_equal(with_stats.frequency, LongTailDataset(reader(root)).frequency)


def test_any_label_set(root):
    """Classes are matched by name, whatever their order."""
    collect('gta', root)
    classes = ('bus', 'road', 'rider')
    for stats in ('', str(root / STATS_FILE)):
        dataset = LongTailDataset(reader(root, metainfo=dict(classes=classes)), classes=['rider'], k=1, stats=stats)
        assert dataset.tail == [2]
        assert set(label_of(item(dataset)).unique().tolist()) == {2, 255}


def test_patches_hold_the_chosen_classes_and_nothing_else(root):
    dataset = LongTailDataset(reader(root), classes=['rider', 'bus', 'train'], k=2)
    pairs = set()
    for seed in range(30):
        sample = item(dataset, seed)
        names = sample['data_samples'].rare_classes
        assert len(set(names)) == 2
        present = set(label_of(sample).unique().tolist()) - {255}
        assert present <= {CLASSES.index(name) for name in names}
        assert CLASSES.index(names[1]) in present  # the last one is covered by none
        assert sample['inputs'].shape == (3, *CROP)
        pairs.add(frozenset(names))
    assert len(pairs) == 3


def test_pixels_come_from_the_image_of_their_label(root):
    """Without crop and flip, every pixel of the patch is that of a chosen image at the same place."""
    plain = DATASETS.build(reader(root, pipeline=LABELLED))
    by_path = {sample['data_samples'].img_path: sample for sample in plain}
    dataset = LongTailDataset(reader(root, pipeline=LABELLED), classes=['rider', 'bus', 'train'], k=3)
    for seed in range(5):
        sample = item(dataset, seed)
        chosen = [CLASSES.index(name) for name in sample['data_samples'].rare_classes]
        pixels, label = sample['inputs'], label_of(sample)
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                having = [by_path[path] for path in sample['data_samples'].rare_images
                          if label_of(by_path[path])[y, x] in chosen]
                assert label[y, x] == (label_of(having[-1])[y, x] if having else 255)
                if having:
                    assert torch.equal(pixels[:, y, x], having[-1]['inputs'][:, y, x])


def test_composing_does_not_change_its_items_and_no_class_gives_an_empty_patch(root):
    part = LongTailDataset(reader(root), classes=['bus'], k=1)._load(2, BUS)
    before = part['inputs'].clone(), label_of(part).clone()
    compose([part], [BUS], 255)['inputs'].zero_()
    assert torch.equal(part['inputs'], before[0])
    assert torch.equal(label_of(part), before[1])
    sample = item(LongTailDataset(reader(root), classes=['bus'], k=0))
    assert (label_of(sample) == 255).all()
    assert sample['inputs'].shape == (3, *CROP)


def test_classes_are_drawn_evenly(root):
    dataset = LongTailDataset(reader(root), classes=['rider', 'bus', 'train'], k=1)
    drawn = [item(dataset, seed)['data_samples'].rare_classes[0] for seed in range(150)]
    counts = [drawn.count(name) for name in ('rider', 'bus', 'train')]
    assert min(counts) > 33  # 50 are expected, though bus is in three times as many images as train


def test_a_branch_depends_on_seed_and_position_alone(root):
    cfg = dict(type='PairedDataset', source=reader(root, False), target=reader(root, False),
               rare=dict(type='LongTailDataset', dataset=reader(root), classes=3))
    dataset, other = DATASETS.build(cfg), DATASETS.build(cfg)
    for position in (5, 3, 900):
        a, b = (d[Position(1, position)]['rare'] for d in (dataset, other))
        assert torch.equal(a['inputs'], b['inputs'])
        assert a['data_samples'].rare_images == b['data_samples'].rare_images
    images = {tuple(dataset[Position(1, p)]['rare']['data_samples'].rare_images) for p in range(30)}
    assert len(images) > 5
    batch = pseudo_collate([dataset[Position(0, 0)], dataset[Position(0, 1)]])
    assert len(batch['rare']['inputs']) == 2


def test_errors(root):
    collect('gta', root, ann_file='some.txt')
    for error, message, cfg, options in (
            (ValueError, r'k=4 must be between 0 and .* 3 \(train, building, rider\)', {}, dict(classes=3, k=4)),
            (FileNotFoundError, 'no class statistics; count them with', {}, dict(stats='nowhere.json')),
            (ValueError, 'no transform of this pipeline loads labels', dict(pipeline=[dict(type='LoadImage')]), {}),
            (ValueError, '00004.png: not in .*count again with the same `--ann-file`', {},
             dict(stats=str(root / STATS_FILE)))):
        with pytest.raises(error, match=message):
            LongTailDataset(reader(root, **cfg), **options)
    big, small = (dict(inputs=torch.zeros(3, *size), data_samples=LongTailDataset(reader(root))._load(0, ROAD)[
        'data_samples']) for size in ((8, 8), (7, 8)))
    with pytest.raises(ValueError, match='crops differ in size'):
        compose([big, small], [ROAD], 255)


def crop(wanted, places, size=(40, 60), seed=0, **arguments):
    label = np.zeros(size, np.uint8)
    for y, x in places:
        label[y, x] = wanted
    results = dict(img=np.zeros((*size, 3), np.uint8), gt_seg_map=label, wanted_class=wanted, seg_fields=['gt_seg_map'])
    with seeded(seed):
        return TRANSFORMS.build(dict(type='CropWithClass', crop_size=8, **arguments))(results)


@pytest.mark.parametrize(('place', 'boxes_expected'), [((0, 0), 1), ((39, 59), 1), ((0, 31), 5), ((20, 31), 8)])
@pytest.mark.parametrize('tries', [1, 10])
def test_a_single_pixel_is_always_in_the_crop(place, boxes_expected, tries):
    boxes = set()
    for seed in range(10):
        results = crop(5, [place], seed=seed, tries=tries)
        assert (results['gt_seg_map'] == 5).sum() == 1
        assert results['img'].shape == (8, 8, 3)
        x1, y1, x2, y2 = results['crop_box']
        assert y1 <= place[0] < y2
        assert x1 <= place[1] < x2
        boxes.add(results['crop_box'])
    assert len(boxes) >= boxes_expected  # somewhere in the crop, not always at its centre


def test_more_pixels_are_sought_and_the_best_crop_is_taken():
    block = [(y, x) for y in range(20) for x in range(30)]  # a quarter of the image
    enough, once, never_enough = (
        [(crop(5, block, seed=seed, **options)['gt_seg_map'] == 5).sum() for seed in range(20)]
        for options in (dict(min_pixels=40, tries=60), dict(tries=1), dict(min_pixels=65)))
    assert min(enough) >= 40
    assert min(once) < 40
    assert np.mean(never_enough) > np.mean(once)


def test_crops_without_the_class_and_wrong_options():
    assert crop(5, [])['img'].shape == (8, 8, 3)
    assert crop(5, [(3, 3)], size=(6, 7))['img'].shape == (6, 7, 3)  # smaller than the crop

    with pytest.raises(KeyError, match='needs wanted_class and gt_seg_map'):
        TRANSFORMS.build(dict(type='CropWithClass', crop_size=8))(dict(img=np.zeros((9, 9, 3), np.uint8)))
    with pytest.raises(ValueError, match='tries=0 must be at least 1'):
        TRANSFORMS.build(dict(type='CropWithClass', crop_size=8, tries=0))
