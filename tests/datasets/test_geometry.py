"""The recorded box finds the crop again, whatever was flipped before or after it."""

# ruff: noqa: NPY002 (mmcv's transforms draw from NumPy's global generator)
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmseg_camix.datasets.transforms import PackUDAInputs, RecordedRandomCrop

FLIPS = {
    None: lambda a: a,
    'horizontal': np.fliplr,
    'vertical': np.flipud,
    'diagonal': lambda a: np.flipud(np.fliplr(a)),
}


def coordinates():
    """(30, 40, 3) uint8: the value of each pixel is its row and column."""
    rows, columns = np.mgrid[:30, :40]
    return np.stack([rows, columns, rows * 0], -1).astype(np.uint8)


def flip(direction):
    return dict(type='RandomFlip', prob=1.0 if direction else 0.0, direction=direction or 'horizontal')


@pytest.mark.parametrize('direction', FLIPS)
@pytest.mark.parametrize('flip_first', [True, False])
def test_box_finds_the_crop_in_the_unflipped_image(direction, flip_first):
    image = coordinates()
    crop = dict(type='RecordedRandomCrop', crop_size=(8, 12))
    steps = [flip(direction), crop] if flip_first else [crop, flip(direction)]
    for seed in range(5):
        np.random.seed(seed)
        results = dict(img=image.copy(), img_shape=image.shape[:2])
        for step in steps:
            results = TRANSFORMS.build(step)(results)
        sample = PackUDAInputs()(results)
        meta = sample['data_samples']
        x1, y1, x2, y2 = meta.crop_box
        assert (x2 - x1, y2 - y1) == (12, 8)
        assert meta.resized_shape == (30, 40)
        expected = FLIPS[meta.flip_direction if meta.flip else None](image[y1:y2, x1:x2])
        np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0).numpy(), expected)


def test_boxes_are_spread_over_the_image():
    np.random.seed(0)
    crop = RecordedRandomCrop([8, 12])  # a list, as JSON configs have it
    boxes = {crop(dict(img=coordinates()))['crop_box'] for _ in range(200)}
    assert {min(b[0] for b in boxes), max(b[2] for b in boxes)} == {0, 40}
    assert {min(b[1] for b in boxes), max(b[3] for b in boxes)} == {0, 30}


@pytest.mark.parametrize('options', [dict(), dict(cat_max_ratio=0.75), dict(cat_max_ratio=0.4, ignore_index=2)])
def test_boxes_are_those_that_mmseg_draws(options):
    label = np.random.RandomState(0).randint(0, 3, (5, 5)).astype(np.uint8).repeat(6, 0).repeat(8, 1)
    label[:9] = 255
    for seed in range(50):
        crops = []
        for kind in ('RandomCrop', 'RecordedRandomCrop'):
            np.random.seed(seed)
            crop = TRANSFORMS.build(dict(type=kind, crop_size=(8, 12), **options))
            results = crop(dict(img=coordinates(), gt_seg_map=label, seg_fields=['gt_seg_map']))
            crops.append((results['img'][0, 0].tolist(), np.random.randint(1 << 30)))  # and as many draws
        assert crops[0] == crops[1]


def test_labels_that_were_loaded_after_a_resize_are_refused():
    """They have the size of the file: a crop would pair pixels with the labels of others."""
    results = dict(img=coordinates(), img_path='a.png', gt_seg_map=np.zeros((60, 80), np.uint8))
    with pytest.raises(ValueError, match='a.png: the image is 40x30 where it is cropped, but its label is 80x60; load'):
        RecordedRandomCrop((8, 12))(results)


def test_padding_is_reported_once_and_refused_where_it_prevails(monkeypatch):
    messages = []
    monkeypatch.setattr('mmseg_camix.datasets.transforms.geometry.print_log', lambda text, *_: messages.append(text))
    crop = RecordedRandomCrop((40, 48))
    for _ in range(2):
        results = crop(dict(img=coordinates(), img_path='a.png'))
    assert results['crop_box'] == (0, 0, 40, 30)
    assert results['img'].shape == (30, 40, 3)
    assert len(messages) == 1
    assert 'a.png: the image is 40x30 where it is cropped to 48x40, 38% of the crop would be padding' in messages[0]
    with pytest.raises(ValueError, match='a.png: .*64x64, 71% .*smaller crop_size, or resize the images'):
        RecordedRandomCrop(64)(dict(img=coordinates(), img_path='a.png'))


def test_label_is_cropped_alike_and_dominance_is_avoided():
    label = np.zeros((30, 40), np.uint8)
    label[:, 30:] = 1
    dominated = {}
    for ratio in (0.75, 1.0):
        crop, shares = RecordedRandomCrop((8, 12), cat_max_ratio=ratio), []
        for seed in range(40):
            np.random.seed(seed)
            results = crop(dict(img=coordinates(), gt_seg_map=label, seg_fields=['gt_seg_map']))
            x1, y1, x2, y2 = results['crop_box']
            np.testing.assert_array_equal(results['gt_seg_map'], label[y1:y2, x1:x2])
            shares.append(abs(results['gt_seg_map'].mean() - 0.5) + 0.5)  # of the more frequent class
        dominated[ratio] = np.mean(np.array(shares) >= 0.75)
    assert dominated[0.75] < dominated[1.0] / 2


def test_wrong_pipelines():
    with pytest.raises(ValueError, match='needs labels, but a.png has none'):
        RecordedRandomCrop(4, cat_max_ratio=0.75)(dict(img=coordinates(), img_path='a.png'))
    crop = RecordedRandomCrop(4)
    with pytest.raises(ValueError, match='a.png is cropped twice'):
        crop(crop(dict(img=coordinates(), img_path='a.png')))


def test_packed_samples_always_record_their_flip():
    sample = PackUDAInputs()(dict(img=coordinates(), sample_idx=3))['data_samples']
    assert (sample.flip, sample.flip_direction, sample.sample_idx) == (False, None, 3)
