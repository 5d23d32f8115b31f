"""Loading of images and labels in every encoding, and the errors for bad files."""

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmseg_camix.datasets.encodings import CLASSES, get_encoding
from mmseg_camix.datasets.folders import custom_encoding
from mmseg_camix.datasets.transforms import LoadIdLabels, LoadImage

from .tiny import SIZE, random_ids, write_16_bit_label, write_grey_label, write_image, write_palette_label


def load_label(path, ids, **extra):
    return LoadIdLabels(ids)(dict(seg_map_path=str(path), seg_fields=[], **extra))['gt_seg_map']


def slowly(raw, ids):
    """The map, one pixel at a time."""
    return np.array([[get_encoding(ids).table[value] for value in row] for row in raw])


@pytest.mark.parametrize(('ids', 'high', 'write'), [
    ('cityscapes', 35, write_palette_label), ('cityscapes', 35, write_grey_label), ('synthia', 23, write_16_bit_label),
    ('train', 19, write_grey_label)])
def test_labels_of_every_encoding(tmp_path, ids, high, write):
    raw = random_ids(3, high)
    write(tmp_path / 'label.png', raw)
    label = load_label(tmp_path / 'label.png', ids)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, slowly(raw, ids))


@pytest.mark.parametrize('channels', [1, 4])
def test_synthia_files_with_other_numbers_of_channels(tmp_path, channels):
    raw = random_ids(4, 23).astype(np.uint16)
    pixels = raw if channels == 1 else np.stack([raw * 0 + 7, raw * 0 + 9, raw, raw * 0 + 3], -1)
    cv2.imwrite(str(tmp_path / 'label.png'), pixels)
    np.testing.assert_array_equal(load_label(tmp_path / 'label.png', 'synthia'), slowly(raw, 'synthia'))


def test_results_are_what_the_following_transforms_expect(tmp_path):
    write_image(tmp_path / 'image.png', 1)
    write_palette_label(tmp_path / 'label.png', random_ids(1, 35))
    results = dict(img_path=str(tmp_path / 'image.png'), seg_map_path=str(tmp_path / 'label.png'),
                   label_ids='cityscapes', seg_fields=[])
    for cfg in (dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(40, 24)),
                dict(type='RandomCrop', crop_size=(8, 8))):
        results = TRANSFORMS.build(cfg)(results)
    assert results['ori_shape'] == SIZE
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['img'].shape == (8, 8, 3)
    assert results['gt_seg_map'].shape == (8, 8)


def test_image_is_bgr_like_opencv(tmp_path):
    write_image(tmp_path / 'image.png', 1)
    loaded = LoadImage()(dict(img_path=str(tmp_path / 'image.png')))['img']
    np.testing.assert_array_equal(loaded, cv2.imread(str(tmp_path / 'image.png')))
    assert LoadImage(to_float32=True)(dict(img_path=str(tmp_path / 'image.png')))['img'].dtype == np.float32


def test_fewer_classes(tmp_path):
    write_grey_label(tmp_path / 'label.png', np.array([[0, 1, 2, 255]]))
    label_map = {0: 1, 1: 255, **{i: 0 for i in range(2, len(CLASSES))}}
    label = load_label(tmp_path / 'label.png', 'train', label_map=label_map)
    assert label.tolist() == [[1, 255, 0, 255]]


@pytest.mark.parametrize(('write', 'content', 'ids', 'message'), [
    (write_grey_label, np.array([[7, 200, 7]]), 'cityscapes', r'label.png: ids \[200\] are not in the map.*choose the'),
    (write_16_bit_label, np.array([[1, 23 + 256, 7]]), 'synthia', r'ids \[279\] are not in the map'),
    (write_grey_label, np.array([[7, 255]]), 'cityscapes', "ids='train' reads"),
    (write_image, 1, 'cityscapes', 'label.png: a PNG of 8 bits and several channels'),
    (write_image, 1, 'synthia', '16-bit PNG with SYNTHIA class ids .* is expected'),
], ids=['unknown', 'unknown 16 bits', 'train ids', 'picture', 'picture for 16 bits'])
def test_labels_of_another_encoding(tmp_path, write, content, ids, message):
    write(tmp_path / 'label.png', content)
    with pytest.raises(ValueError, match=message):
        load_label(tmp_path / 'label.png', ids)


def test_another_size_than_the_image(tmp_path):
    write_grey_label(tmp_path / 'label.png', random_ids(1, 19, (5, 6)))
    with pytest.raises(ValueError, match=r'label.png: the label is 6x5 but its image a.png is 8x7'):
        load_label(tmp_path / 'label.png', 'train', ori_shape=(7, 8), img_path='a.png')


@pytest.mark.parametrize(('damage', 'message'), [
    (lambda data: data[:len(data) // 2], 'truncated'),
    (lambda data: data[:-12], 'truncated'),
    (lambda data: b'', 'empty'),
    (lambda data: data[:60] + b'\x00\x01\x02\x03' * 8 + data[92:], 'damaged')])
@pytest.mark.parametrize('kind', ['image', 'palette', '16 bits'])
def test_damaged_files(tmp_path, kind, damage, message):
    path = tmp_path / 'broken.png'
    dict(palette=lambda: write_grey_label(path, random_ids(1, 19, (64, 64))), image=lambda: write_image(path, 1),
         **{'16 bits': lambda: write_16_bit_label(path, random_ids(1, 23, (64, 64)))})[kind]()
    path.write_bytes(damage(path.read_bytes()))
    load = LoadImage() if kind == 'image' else LoadIdLabels('synthia' if kind == '16 bits' else 'train')
    sample = dict(img_path=str(path), seg_map_path=str(path))
    with pytest.raises(OSError, match=f'broken.png: .*{message}.*; unpack or download .*skip='):
        load(dict(sample, label_ids='cityscapes'))
    if kind == 'image':  # FolderDataset has no `skip`
        with pytest.raises(OSError, match=f'broken.png: .*{message}.*; restore this file, or list') as error:
            load(dict(sample, label_ids=custom_encoding(['a'])))
        assert 'skip' not in str(error.value)


@pytest.mark.parametrize('options', [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)])
@pytest.mark.parametrize('thumbnail', [False, True])
def test_truncated_jpegs(options, thumbnail, tmp_path):
    image = np.random.RandomState(0).randint(0, 256, (40, 60, 3), np.uint8)
    data = cv2.imencode('.jpg', image, list(options))[1].tobytes()
    if thumbnail:  # in the header, with an end marker of its own; and a byte that fills up, which the format allows
        small = cv2.imencode('.jpg', image[:8, :8])[1].tobytes()
        data = data[:2] + b'\xff\xe1' + (len(small) + 2).to_bytes(2, 'big') + small + b'\xff' + data[2:]
    path = tmp_path / 'a.jpg'
    for whole in (data, data + b'\xff\xda more'):  # cameras append things
        path.write_bytes(whole)
        actual = LoadImage()(dict(img_path=str(path)))['img']
        np.testing.assert_array_equal(actual, cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR))
    for cut in (1, 2, 50, len(data) // 3):
        path.write_bytes(data[:-cut])
        with pytest.raises(OSError, match=r'a\.jpg: the JPEG is truncated'):
            LoadImage()(dict(img_path=str(path)))


def test_not_a_png_and_missing_files(tmp_path):
    path = tmp_path / 'label.png'
    path.write_bytes(b'GIF89a' + bytes(30))
    for load, error, message in (
            (lambda: load_label(path, 'train'), OSError, 'label.png: not a PNG'),
            (lambda: LoadImage()(dict(img_path=str(path))), OSError, 'label.png: the image is damaged'),
            (lambda: LoadImage()(dict(img_path='gone.png')), FileNotFoundError, 'gone.png: no such file'),
            (lambda: LoadIdLabels(ids='gta'), ValueError, "'gta' is not a label encoding"),
            (lambda: LoadIdLabels()(dict(img_path='a.png')), KeyError, 'a.png: this sample has no label'),
            (lambda: LoadIdLabels()(dict(seg_map_path='a.png')), ValueError, 'encoding is unknown')):
        with pytest.raises(error, match=message):
            load()
