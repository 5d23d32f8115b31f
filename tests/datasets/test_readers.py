"""Readers on the layouts of the raw downloads, and what they say of incomplete ones."""

import shutil

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_camix.datasets import GTADataset, RawCityscapesDataset, SYNTHIADataset
from mmseg_camix.datasets.encodings import CLASSES, SYNTHIA_16, get_encoding

from .tiny import LABELLED, SIZE, UNLABELLED, random_ids, write_image


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rsplit('/', 1)[1] for i in range(len(dataset))]


@pytest.mark.parametrize(('family', 'cfg', 'ids', 'high', 'sample_seed'), [
    ('gta', dict(type='GTADataset'), 'cityscapes', 35, 1),
    ('synthia', dict(type='SYNTHIADataset'), 'synthia', 23, 0),
    ('cityscapes', dict(type='RawCityscapesDataset', data_prefix=dict(
        img_path='leftImg8bit/val', seg_map_path='gtFine/val')), 'cityscapes', 34, 0)])
def test_first_sample_of_each_family(request, family, cfg, ids, high, sample_seed):
    root = request.getfixturevalue(family)
    dataset = DATASETS.build(dict(cfg, data_root=str(root), pipeline=LABELLED))
    sample = dataset[0]
    expected = get_encoding(ids).table[random_ids(sample_seed, high)]
    np.testing.assert_array_equal(sample['data_samples'].gt_sem_seg.data[0].numpy(), expected)
    assert sample['inputs'].shape == (3, *SIZE)
    assert dataset.metainfo['classes'] == CLASSES


def test_all_images_in_order(gta, synthia, cityscapes):
    assert names(GTADataset(str(gta))) == [f'{i:05}.png' for i in range(1, 8)]
    assert names(SYNTHIADataset(str(synthia))) == [f'{i:07}.png' for i in range(3)]
    target = RawCityscapesDataset(str(cityscapes), dict(img_path='leftImg8bit/train'), pipeline=UNLABELLED)
    assert names(target) == [f'aachen_{i:06}_000019_leftImg8bit.png' for i in range(5)]
    assert 'gt_sem_seg' not in target[4]['data_samples']
    assert 'seg_map_path' not in target.get_data_info(0)
    (gta / 'val.txt').write_text('00003\n00001\n\n')
    assert names(GTADataset(str(gta), ann_file='val.txt')) == ['00003.png', '00001.png']


def test_encoding_and_classes_that_occur(gta, synthia):
    with pytest.raises(ValueError, match='available: cityscapes, synthia, train'):
        GTADataset(str(gta), ids='gta')
    assert GTADataset(str(gta)).metainfo['present_classes'] == CLASSES
    assert SYNTHIADataset(str(synthia)).metainfo['present_classes'] == SYNTHIA_16
    few = SYNTHIADataset(str(synthia), metainfo=dict(classes=('road', 'train', 'car')))
    assert few.metainfo['present_classes'] == ('road', 'car')


def test_missing_folders_and_images(gta, cityscapes, tmp_path):
    shutil.rmtree(gta / 'images')
    (gta / 'images').mkdir()
    (gta / 'images' / 'readme.txt').touch()
    for reader, root, message in (
            (GTADataset, tmp_path / 'nowhere', r'nowhere/images: no such folder.*data_root.*mmseg-camix draw'),
            (RawCityscapesDataset, cityscapes, r'gtFine/train: no such folder.*unlabelled target'),
            (GTADataset, gta, r"images: no image ends in '.png'")):
        with pytest.raises(FileNotFoundError, match=message):
            reader(str(root))


def test_image_without_a_label(gta):
    write_image(gta / 'images/00042.png', 42)
    with pytest.raises(FileNotFoundError, match=r'labels/00042.png: no label .*1 of 8.*`ann_file`'):
        GTADataset(str(gta))
    (gta / 'train.txt').write_text('\n'.join(f'{i:05}' for i in range(1, 8)))
    assert len(GTADataset(str(gta), ann_file='train.txt')) == 7  # the remedy works


@pytest.mark.parametrize(('text', 'error', 'message'), [
    (None, FileNotFoundError, 'train.txt: no such list'),
    ('\n', ValueError, 'train.txt: the list is empty'),
    ('00001\n00099\n', FileNotFoundError, r'images/00099.png: no image for this line of `ann')])
def test_bad_lists(gta, text, error, message):
    if text is not None:
        (gta / 'train.txt').write_text(text)
    with pytest.raises(error, match=message):
        GTADataset(str(gta), ann_file='train.txt')


def test_a_pipeline_that_drops_samples_is_an_error(gta):
    dataset = GTADataset(str(gta), pipeline=[lambda results: None])
    with pytest.raises(RuntimeError, match=r'00002.png: the pipeline returned None'):
        dataset[1]
