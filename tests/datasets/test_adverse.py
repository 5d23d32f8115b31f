"""ACDC and Dark Zurich: the right images with the right labels, as targets and for validation."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_camix.datasets import ACDCDataset, PairedDataset, Position, RawDarkZurichDataset
from mmseg_camix.datasets.encodings import get_encoding
from mmseg_camix.engine.config import load_config
from tests.tools_runner import ROOT

from .tiny import CONDITIONS, LABELLED, make_acdc, make_dark_zurich, random_ids, write_grey_label, write_image


@pytest.fixture
def acdc(tmp_path):
    return make_acdc(tmp_path / 'acdc')


def relative(dataset, root):
    return [dataset.get_data_info(i)['img_path'].removeprefix(f'{root}/rgb_anon/') for i in range(len(dataset))]


@pytest.mark.parametrize(('split', 'count'), [('train', 2), ('val', 1)])
def test_acdc_reads_its_split_of_all_conditions(acdc, split, count):
    dataset = ACDCDataset(str(acdc), split=split, pipeline=LABELLED)
    expected = [f'{c}/{split}/GOPR0{n}/GOPR0{n}_frame_{f:06}_rgb_anon.png'
                for n, c in enumerate(CONDITIONS) for f in range(count)]
    assert relative(dataset, acdc) == expected
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        label = info['img_path'].replace('rgb_anon/', 'gt/').replace('_rgb_anon', '_gt_labelIds')
        assert info['seg_map_path'] == label
        label_ids = dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(label_ids, get_encoding('cityscapes').table[np.array(Image.open(label))])


def test_some_conditions(acdc):
    some = ACDCDataset(str(acdc), conditions=['night', 'snow'])
    assert {name.split('/')[0] for name in relative(some, acdc)} == {'night', 'snow'}
    assert len(ACDCDataset(str(acdc), conditions='rain')) == 2


def test_a_target_needs_no_labels(acdc):
    for label in (acdc / 'gt').rglob('*train*/*/*.png'):
        label.unlink()
    dataset = ACDCDataset(str(acdc), labels=False, pipeline=LABELLED[::2])
    assert len(dataset) == 8
    assert 'gt_sem_seg' not in dataset[0]['data_samples']
    with pytest.raises(FileNotFoundError, match=r'labelIds.png: no label for this image \(8 of 8'):
        ACDCDataset(str(acdc))
    assert len(ACDCDataset(str(acdc), split='test', labels=False)) == 4


def test_acdc_errors(acdc):
    for image in (acdc / 'rgb_anon/fog/val').rglob('*.png'):
        image.unlink()
    for error, message, options in (
            (ValueError, "split='training' is not one of train, val, test", dict(split='training')),
            (ValueError, 'must be some of fog, night, rain, snow', dict(conditions=('fog', 'dusk'))),
            (FileNotFoundError, "no image of fog in the split 'val'. Set `data_root`",
             dict(split='val', conditions='fog'))):
        with pytest.raises(error, match=message):
            ACDCDataset(str(acdc), **options)


def test_dark_zurich(tmp_path):
    dark_zurich = make_dark_zurich(tmp_path / 'dark_zurich')
    target = RawDarkZurichDataset(str(dark_zurich), pipeline=LABELLED[::2])
    assert relative(target, dark_zurich) == [
        f'train/night/GOPR0351/GOPR0351_frame_{f:06}_rgb_anon.png' for f in range(3)]
    val = RawDarkZurichDataset(
        str(dark_zurich), dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'), pipeline=LABELLED)
    assert len(val) == 2
    label = dark_zurich / 'gt/val/night/GOPR0356/GOPR0356_frame_000001_gt_labelIds.png'
    expected = get_encoding('cityscapes').table[np.array(Image.open(label))]
    np.testing.assert_array_equal(val[1]['data_samples'].gt_sem_seg.data[0], expected)


@pytest.mark.parametrize(('base', 'reader', 'make', 'counts'), [
    ('cityscapes2acdc_512', ACDCDataset, make_acdc, (8, 4)),
    ('cityscapes2dark_zurich_512', RawDarkZurichDataset, make_dark_zurich, (3, 2))])
def test_bases_of_adaptations_to_adverse_weather(tmp_path, base, reader, make, counts):
    name = 'dark_zurich' if 'dark' in base else 'acdc'
    make(tmp_path / name)
    for i in range(3):
        stem = f'train/ulm/ulm_{i:06}_000019'
        write_image(tmp_path / f'cityscapes/leftImg8bit/{stem}_leftImg8bit.png', i)
        write_grey_label(tmp_path / f'cityscapes/gtFine/{stem}_gtFine_labelIds.png', random_ids(i, 34))
    moved = load_config(str(ROOT / f'configs/_base_/datasets/{base}.py'), dict(data_root=str(tmp_path)))
    pairs, val = DATASETS.build(moved.train_dataloader.dataset), DATASETS.build(moved.val_dataloader.dataset)
    assert isinstance(pairs, PairedDataset)
    assert type(pairs.datasets['target']) is type(val) is reader
    assert (len(pairs.datasets['target']), len(val)) == counts
    item = pairs[Position(0, 0)]
    assert item['source']['inputs'].shape == item['target']['inputs'].shape == (3, 512, 512)
    assert 'gt_sem_seg' not in item['target']['data_samples']
    sample = val[0]['data_samples']
    assert sample.img_shape == (540, 960)
    assert sample.gt_sem_seg.shape == sample.ori_shape == (12, 20)  # compared at its own size


def test_an_adaptation_to_adverse_weather_is_a_short_config():
    path = ROOT / 'configs/dacs/cityscapes2acdc_daformer.py'
    assert len(path.read_text().splitlines()) < 10
    cfg, like = load_config(str(path)), load_config(str(ROOT / 'configs/dacs/gta2cs_daformer.py'))
    assert cfg.model == like.model  # network, method and schedule are those of the other adaptations
    assert cfg.optim_wrapper == like.optim_wrapper
    assert cfg.train_cfg == like.train_cfg
    target = cfg.train_dataloader.dataset.target
    assert (target.type, target.labels, cfg.val_dataloader.dataset.split) == ('ACDCDataset', False, 'val')
