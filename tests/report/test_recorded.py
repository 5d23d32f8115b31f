"""What is built of the data set that a recorded config names, which may be a stranger's."""

import os
import pickle
import struct

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_camix_tools.report.examine import TargetImages
from mmseg_camix_tools.report.page import write_report
from mmseg_camix_tools.report.pictures import sheet
from mmseg_camix_tools.report.recorded import check_dataset, without_cache
from mmseg_camix_tools.report.training import ReportError
from tests.report.work_dirs import write_training
from tests.tools_runner import ROOT

PICTURES = dict(type='BaseSegDataset', data_prefix=dict(img_path=''), img_suffix='.pkl', metainfo=dict(classes=['a']),
                pipeline=[dict(type='LoadBiomedicalImageFromFile', decode_backend='pickle')])
LIST = dict(type='DecathlonDataset', ann_file='{folder}/list.pkl')
IMAGES = dict(type='BaseSegDataset', data_root='images')


class Program:
    """Unpickled, it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def hostile(tmp_path):
    """A folder with a pickle that leaves a trace."""
    (tmp_path / 'list.pkl').write_bytes(pickle.dumps(Program(tmp_path / 'trace')))
    return tmp_path


@pytest.mark.parametrize('dataset', [LIST, PICTURES])
def test_no_pickle_is_opened(hostile, world, dataset):
    dataset = dict(dataset, data_root=str(hostile)) if dataset is PICTURES else dict(
        dataset, ann_file=f'{hostile}/list.pkl')
    run = write_training(hostile / 'run', world) / '20260102_030400/vis_data/config.py'
    config = Config.fromfile(run)
    config.val_dataloader = dict(dataset=dataset)
    run.write_text(config.pretty_text)
    page = write_report([hostile / 'run'], hostile / 'out.html', images=1).read_text()
    assert 'of the recorded config was not built' in page
    assert not (hostile / 'trace').exists()
    with pytest.raises((TypeError, AttributeError)):  # the control: mmseg unpickles it
        DATASETS.build(dataset)[0]
    assert (hostile / 'trace').exists()


@pytest.mark.parametrize(('change', 'place'), [
    (dict(backend_args=dict(backend='memcached', sys_path='.')), 'backend_args'), (dict(_scope_='own'), '_scope_'),
    (dict(data_root='http://host/a'), 'data_root'), (dict(type='mmseg.DACS'), 'type'), (dict(type=3), 'type'),
    (dict(type='mmengine.ConcatDataset', datasets=[IMAGES, LIST]), r'datasets\[1\].type'),
    (dict(pipeline=[dict(type='LoadImageFromFile', file_client_args=dict(backend='disk'))]),
     r'pipeline\[0\].file_client_args'),
    (dict(type='RepeatDataset', times=10**9, dataset=IMAGES), 'type'), (dict(type='RareClassDataset'), 'type'),
    (dict(pipeline=[dict(type='Cached')]), r'pipeline\[0\].type'),
    (dict(pipeline=[dict(type='Resize', scale=(10**5, 10**5))]), r'pipeline\[0\].scale'),
    (dict(pipeline=[dict(type='Resize', scale_factor=99.)]), r'pipeline\[0\].scale_factor'),
    (dict(pipeline=[dict(type='AugmentedViews', scales=[99.], transforms=[])]), r'pipeline\[0\].scales\[0\]'),
    (dict(pipeline=[dict(type='Pad', size_divisor=10**6)]), r'pipeline\[0\].size_divisor')])
def test_other_ways_are_refused(change, place):
    check_dataset(IMAGES | dict(_scope_='mmseg'), 'dataset')
    with pytest.raises(ReportError, match=rf'^dataset\.{place} of the recorded config was not built'):
        check_dataset(IMAGES | change, 'dataset')


def test_addresses_in_a_list_are_not_opened(tmp_path):
    (tmp_path / 'list.txt').write_text('http://127.0.0.1:1/a\n')
    dataset = dict(type='BaseSegDataset', ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(img_path=''))
    with pytest.raises(ReportError, match='^http://127.0.0.1:1/a.jpg, of the recorded data set, was not opened'):
        TargetImages(dict(val_dataloader=dict(dataset=dataset)), None, 1)


@pytest.mark.parametrize('name', ['zero', 'pipe'])
def test_files_without_end_are_not_read(tmp_path, name):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'zero').symlink_to('/dev/zero')
    (tmp_path / 'list.txt').write_text(name)
    dataset = dict(type='BaseSegDataset', ann_file='list.txt', img_suffix='', data_root=str(tmp_path),
                   data_prefix=dict(img_path=''))
    with pytest.raises(ReportError, match=f'{name}, of the recorded data set, was not opened: it is not a file'):
        TargetImages(dict(val_dataloader=dict(dataset=dataset)), None, 1)


@pytest.mark.parametrize('bomb', ['img_path', 'seg_map_path'])
def test_sizes_are_checked_before_other_readers_open_a_file(tmp_path, bomb):
    for key in ('img_path', 'seg_map_path'):
        (tmp_path / key).mkdir()
        image = cv2.imencode('.png', np.zeros((1, 1), np.uint8))[1].tobytes()
        size = struct.pack('>II', 60000, 60000) if key == bomb else image[16:24]
        (tmp_path / key / 'a.png').write_bytes(image[:16] + size + image[24:])
    dataset = dict(type='BaseSegDataset', img_suffix='.png', data_root=str(tmp_path), metainfo=dict(classes=['a']),
                   data_prefix=dict(img_path='img_path', seg_map_path='seg_map_path'), pipeline=[])
    with pytest.raises(OSError, match=f'{bomb}/a.png: the PNG announces 60000x60000 pixels'):
        list(TargetImages(dict(val_dataloader=dict(dataset=dataset)), None, 1))
    assert sheet(tmp_path / bomb / 'a.png') is None


def test_data_sets_that_cannot_be_built():
    dataset = dict(type='ConcatDataset', datasets=[])
    with pytest.raises(ReportError, match=r'^val_dataloader.dataset of .* cannot be built .IndexError'):
        TargetImages(dict(val_dataloader=dict(dataset=dataset)), None, 1)


def test_caches_are_not_read():
    given = dict(type='ConcatDataset', datasets=[dict(IMAGES, cache='cache', classes=dict(cache=1))])
    assert without_cache(given) == dict(type='ConcatDataset', datasets=[dict(IMAGES, classes=dict(cache=1))])


@pytest.mark.parametrize('name', [
    'camix/mini_gta2cs_tiny', 'camix/cityscapes2acdc_daformer', 'source_only/drawn2camvid_lite',
    'dacs/gta2cs_deeplabv2'])
def test_data_sets_of_the_configs_are_built(name):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    check_dataset(config.val_dataloader.dataset, 'dataset')


@pytest.mark.parametrize('name', ['ade20k', 'cityscapes', 'loveda', 'pascal_voc12_aug', 'synapse'])
def test_data_sets_of_mmseg_are_built(name):
    import mmseg
    config = Config.fromfile(f'{mmseg.__path__[0]}/.mim/configs/_base_/datasets/{name}.py')
    check_dataset(config.val_dataloader.dataset, 'dataset')
