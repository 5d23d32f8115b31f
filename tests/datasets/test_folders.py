"""Custom data in folders: class numbers, suffixes, and what is refused."""

import copy
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_camix.datasets import FolderDataset, PairedDataset
from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix.datasets.folders import class_colours, custom_encoding

from .tiny import LABELLED, UNLABELLED, write_grey_label, write_image, write_palette_label

OWN = dict(sky=3, road=7, grass=[21, 22])


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        write_image(tmp_path / f'images/park/{i}.png', i)
        ids = np.random.RandomState(i).choice([3, 7, 21, 22, 255], (12, 20))
        (write_palette_label if i % 2 else write_grey_label)(tmp_path / f'labels/park/{i}.png', ids)
    return tmp_path


def names(dataset):
    """(image, label) of each sample, without folders."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [tuple(info[key].rsplit('/', 1)[1] for key in ('img_path', 'seg_map_path') if key in info) for info in infos]


def by_loops(path, classes):
    """Train ids pixel by pixel."""
    numbers = {number: index for index, ids in enumerate(classes.values())
               for number in (ids if isinstance(ids, list) else [ids])}
    return [[numbers.get(int(value), 255) for value in row] for row in np.array(Image.open(path))]


def test_labels_are_train_ids(folder):
    dataset = FolderDataset(str(folder), OWN, pipeline=LABELLED)
    assert len(dataset) == 3
    assert dataset.metainfo['classes'] == dataset.metainfo['present_classes'] == ('sky', 'road', 'grass')
    for i in range(3):
        sample = dataset[i]['data_samples']
        assert sample.gt_sem_seg.data[0].tolist() == by_loops(folder / f'labels/park/{i}.png', OWN)
        assert sample.img_path.endswith(f'images/park/{i}.png')


def test_names_alone_are_numbered_from_zero(folder):
    write_grey_label(folder / 'labels/park/0.png', np.array([[0, 1], [2, 255]]))
    cv2.imwrite(str(folder / 'images/park/0.png'), np.zeros((2, 2, 3), np.uint8))
    dataset = FolderDataset(str(folder), ['a', 'b', 'c'], pipeline=LABELLED, indices=[0])
    assert dataset[0]['data_samples'].gt_sem_seg.data.tolist() == [[[0, 1], [2, 255]]]


def test_a_number_without_a_class(folder):
    classes = dict(sky=3, road=7)
    for options in (dict(), dict(ignore=(1, 2))):
        dataset = FolderDataset(str(folder), classes, pipeline=LABELLED, **options)
        with pytest.raises(ValueError, match=r'labels/park/0.png: ids \[21, 22.*\] are not in `classes`.*sky 3, road.*'
                                             r"add them to `classes`, or to `ignore` \(ignore='others'"):
            dataset[0]
    for ignore in ((21, 22, 255), 'others'):
        label = FolderDataset(str(folder), classes, pipeline=LABELLED, ignore=ignore)[0]['data_samples'].gt_sem_seg
        assert label.data[0].tolist() == by_loops(folder / 'labels/park/0.png', classes)


def test_sixteen_bits(tmp_path):
    write_image(tmp_path / 'images/a.png', 0)
    ids = np.random.RandomState(0).choice([300, 40000], (12, 20)).astype(np.uint16)
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels/a.png'), ids)
    dataset = FolderDataset(str(tmp_path), dict(a=300, b=40000), bits=16, pipeline=LABELLED)
    assert torch.equal(dataset[0]['data_samples'].gt_sem_seg.data[0], torch.from_numpy((ids == 40000).astype(int)))
    assert copy.deepcopy(dataset.get_data_info(0))['label_ids'] is dataset.encoding  # crops that are drawn again


def test_unlabelled_images_and_their_suffix(folder):
    for path in (folder / 'images/park').iterdir():
        path.rename(path.with_suffix('.JPG'))
    (folder / 'images/park/notes.txt').write_text('x')
    dataset = FolderDataset(str(folder), OWN, labels=None, pipeline=UNLABELLED)
    assert names(dataset) == [('0.JPG',), ('1.JPG',), ('2.JPG',)]
    assert 'gt_sem_seg' not in dataset[0]['data_samples']


def test_images_of_two_kinds(folder):
    (folder / 'images/park/0.png').rename(folder / 'images/park/0.jpg')
    assert names(FolderDataset(str(folder), OWN)) == [('0.jpg', '0.png'), ('1.png', '1.png'), ('2.png', '2.png')]
    assert len(FolderDataset(str(folder), OWN, img_suffix='.png')) == 2
    (folder / 'images/park/1.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match='images holds park/1.jpg and park/1.png, two images for the label park/1.png'):
        FolderDataset(str(folder), OWN)


def test_labels_below_the_images_are_no_images(folder):
    for i in range(3):
        (folder / f'images/park/{i}.png').rename(folder / f'{i}.jpg')
        (folder / f'labels/park/{i}.png').rename(folder / f'labels/{i}.png')
    assert names(FolderDataset(str(folder), OWN, images='')) == [(f'{i}.jpg', f'{i}.png') for i in range(3)]


def test_labels_with_another_suffix(folder):
    for path in (folder / 'labels/park').iterdir():
        path.rename(path.with_suffix('.PNG'))
    with pytest.raises(FileNotFoundError, match="3 of 3 lack.*set `seg_map_suffix`, if the labels do not end in"):
        FolderDataset(str(folder), OWN)
    assert len(FolderDataset(str(folder), OWN, seg_map_suffix='.PNG', pipeline=LABELLED)[0]) == 2


def test_missing_files_and_folders(folder):
    (folder / 'empty').mkdir()
    (folder / 'labels/park/1.png').unlink()
    for images, message in (('pictures', 'pictures: no such folder .*`images` and `labels`'),
                            ('empty', 'no image ends in'),
                            ('images', 'labels/park/1.png: no label for this image')):
        with pytest.raises(FileNotFoundError, match=message):
            FolderDataset(str(folder), OWN, images=images)


@pytest.mark.parametrize(('classes', 'options', 'match'), [
    ({}, {}, 'must be names with their numbers'),
    ('road', {}, 'must be names with their numbers'),
    (dict(a=1, b=[2, 1]), {}, 'a and b both have the number 1'),
    (dict(a=256), {}, 'a=256 is not a number from 0 to 255'),
    (dict(a=-1), {}, 'not a number from 0'),
    (dict(a='1'), {}, "a='1' is not a number"),
    (dict(a=1.5), {}, 'a=1.5 is not a number'),
    (dict(a=[]), {}, 'a has no number'),
    (['a', 'a'], {}, 'a name occurs twice'),
    (dict(a=1), dict(bits=12), 'bits=12 must be 8 or 16'),
    ([f'c{i}' for i in range(254)], {}, '254 classes are too many'),
    (dict(a=1), dict(ignore=(0, 256)), r'ignore=\(0, 256\) must be numbers from 0 to 255'),
    (dict(a=1), dict(ignore=-1), 'ignore=-1 must be numbers'),
    (dict(a=1), dict(ignore='all'), "ignore='all' must be numbers from 0 to 255, or 'others'"),
    (['a', 'b'], dict(ignore=(0, 255)), 'ignore=.*: 0 is the number of the class a; remove it'),
])
def test_wrong_classes(classes, options, match):
    with pytest.raises(ValueError, match=match):
        custom_encoding(classes, **options)


def test_masks_of_0_and_255():
    """The default of `ignore` leaves 255 to a class that has it."""
    assert custom_encoding(dict(void=0, thing=255)).table[[0, 255]].tolist() == [0, 1]


def test_labels_of_one_bit(folder):
    Image.fromarray(np.ones((12, 20), bool)).save(folder / 'labels/park/0.png')
    with pytest.raises(ValueError, match='1 bits and one channel.*; save the labels with 8 bits for each pixel'):
        FolderDataset(str(folder), OWN, pipeline=LABELLED)[0]


def test_some_samples_and_indices_that_do_not_exist(folder):
    assert names(FolderDataset(str(folder), OWN, indices=[-1, 0])) == [('2.png', '2.png'), ('0.png', '0.png')]
    assert names(FolderDataset(str(folder), OWN, spread=2)) == [('0.png', '0.png'), ('2.png', '2.png')]
    with pytest.raises(ValueError, match='indices: there is no sample 3; .*images has 3, numbered from 0'):
        FolderDataset(str(folder), OWN, indices=[0, 3])


def test_palettes(folder):
    with pytest.raises(ValueError, match='palette has 1 colours for 3 classes'):
        FolderDataset(str(folder), OWN, palette=[[1, 2, 3]])
    colours = class_colours(['road', *(f'class {i}' for i in range(20))])
    assert colours[0] == PALETTE[CLASSES.index('road')]
    distances = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 25, 'two classes can hardly be distinguished'


def test_the_order_of_the_classes_is_that_of_their_numbers_or_the_given_one(folder):
    source = FolderDataset(str(folder), OWN)
    other = dict(sky=22, road=7, grass=[21, 3])  # in the order of numbers: grass, road, sky
    with pytest.raises(ValueError, match='another order'):
        PairedDataset(source, FolderDataset(str(folder), other))
    pairs = [('sky', 22), ('road', 7), ('grass', [21, 3])]
    assert len(PairedDataset(source, FolderDataset(str(folder), pairs)).datasets) == 2


def test_the_order_survives_a_config_that_is_written(folder, tmp_path):
    """mmengine sorts the keys of what it writes into the work folder, which must not exchange classes."""
    cfg = Config(dict(data=dict(data_root=str(folder), classes=OWN, pipeline=LABELLED)))
    cfg.dump(str(tmp_path / 'cfg.py'))
    reloaded = Config.fromfile(tmp_path / 'cfg.py')
    assert list(reloaded.data.classes) == sorted(OWN) != list(OWN)
    first, second = (FolderDataset(**config.data) for config in (cfg, reloaded))
    assert first.metainfo['classes'] == second.metainfo['classes']
    assert torch.equal(first[0]['data_samples'].gt_sem_seg.data, second[0]['data_samples'].gt_sem_seg.data)


def test_worker_processes_get_the_encoding(folder):
    dataset = pickle.loads(pickle.dumps(FolderDataset(str(folder), OWN, pipeline=LABELLED)))
    assert dataset[1]['data_samples'].gt_sem_seg.data[0].tolist() == by_loops(folder / 'labels/park/1.png', OWN)
