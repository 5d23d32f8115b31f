"""`dict(type='DACS', segmentor=<any mmseg config>)` works with nothing else given."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_camix.models import adapter

from . import tiny

SEGMENTORS = tiny.segmentors()


@pytest.mark.parametrize('name', SEGMENTORS)
def test_any_segmentor_adapts(name):
    """Losses of source and mixed images, a prediction of each network, a gradient everywhere."""
    model = tiny.method('DACS', SEGMENTORS[name])
    total, logged = tiny.losses_of(model, tiny.batch(edges=name == 'PIDHead'))
    assert torch.isfinite(total)
    assert logged['mixed.loss_ce'] > 0
    assert any(key.startswith('source.decode') and 'loss' in key for key in logged)
    total.backward()
    without = [key for key, p in model.student.named_parameters() if p.grad is None]
    assert not without, 'DDP refuses parameters without gradient'
    model.eval()
    for network in ('student', 'teacher'):
        model.predict_with = network
        assert model.test_step(tiny.batch()['target'])[0].pred_sem_seg.data.shape == (1, 32, 32)


@pytest.mark.parametrize('name', SEGMENTORS)
def test_teacher_logits_are_those_of_prediction(name):
    """What pseudo-labels are made of is what mmseg's own prediction gives, before its resizing."""
    model = tiny.method('DACS', dict(SEGMENTORS[name]), teacher=dict(norm='running'))
    images = torch.randn(2, 3, 32, 32)
    model.train()
    mine = model.teacher(images)
    model.eval()
    segmentor = model.teacher.model
    metas = [dict(img_shape=(32, 32), ori_shape=(32, 32))] * 2
    theirs = segmentor.encode_decode(images, metas)
    mine = torch.nn.functional.interpolate(mine, (32, 32), mode='bilinear', align_corners=segmentor.align_corners)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize('name', ['EncHead', 'DDRHead', 'PIDHead', 'K-Net'])
def test_prediction_is_selected_from_a_tuple(name):
    """In training mode these heads give more; what counts is the map that they predict with."""
    network = tiny.method('DACS', SEGMENTORS[name]).student.eval()
    images = torch.randn(2, 3, 32, 32)
    expected = adapter.decode(network, adapter.extract(network, images))
    network.backbone.training = network.decode_head.training = True  # all but normalisation and dropout
    raw = network.decode_head(adapter.extract(network, images))
    assert isinstance(raw, (tuple, list))
    torch.testing.assert_close(adapter.decode(network, adapter.extract(network, images)), expected)


def test_everything_is_read_from_the_segmentor():
    cfg = tiny.per_pixel(num_classes=7, ignore_index=250, align_corners=True)
    cfg['data_preprocessor'] = tiny.preprocessor((24, 40), mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=False)
    model = tiny.method('DACS', cfg)
    assert model.num_classes == 7
    assert model.data_preprocessor.crop_size == (24, 40)
    assert model.data_preprocessor.channel_order == model.augment.channel_order == 'bgr'
    torch.testing.assert_close(model.augment.mean.flatten() * 255, torch.tensor([1., 2., 3.]))
    torch.testing.assert_close(model.augment.std.flatten() * 255, torch.tensor([4., 5., 6.]))
    step = model.begin_step(dict.fromkeys(('source', 'target'), torch.zeros(1, 3, 8, 8)), {})
    assert (step.num_classes, step.ignore_index, step.align_corners) == (7, 250, True)
    rgb = tiny.method('DACS', tiny.per_pixel())
    assert rgb.augment.channel_order == 'rgb'


def test_ignored_index_of_the_head_counts():
    """Void pixels of the source are neither chosen by ClassMix nor learned, whether they are 250 or 255."""
    losses = []
    for void in (250, 255):
        model, data = tiny.method('DACS', tiny.per_pixel(ignore_index=void)), tiny.batch()
        for item in data['source']['data_samples']:
            item.gt_sem_seg.data[item.gt_sem_seg.data == 255] = void
        losses.append(tiny.losses_of(model, data)[1])
    assert losses[0] == losses[1]


def test_a_config_dict_and_another_preprocessor():
    other = tiny.preprocessor((16, 16), mean=[0., 0., 0.], std=[1., 1., 1.])
    bare = {key: value for key, value in tiny.per_pixel().items() if key != 'data_preprocessor'}
    cfg = ConfigDict(type='DACS', segmentor=bare, data_preprocessor=other)
    before = copy.deepcopy(cfg)
    model = tiny.build(cfg)
    assert cfg == before
    assert model.data_preprocessor.crop_size == (16, 16)
    assert model.student.data_preprocessor is model.data_preprocessor.preprocessor
    images = model.data_preprocessor(tiny.batch(16), True)['inputs']['target']
    expected = torch.stack(tiny.batch(16)['target']['inputs']).flip(1).float()
    torch.testing.assert_close(images, expected)


def test_a_model_without_a_crop_size_builds():
    model = tiny.method('DACS', tiny.per_pixel(crop=None))
    assert model.data_preprocessor.crop_size is None
    assert model.stride == 1


def test_a_plain_checkpoint_loads_through_mmengine(tmp_path):
    from mmengine.runner import load_checkpoint, save_checkpoint
    plain = tiny.build(tiny.small(), seed=3)
    save_checkpoint(dict(state_dict=plain.state_dict(), meta={}), str(tmp_path / 'plain.pth'))
    model = tiny.method('DACS', tiny.small(), seed=4)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith('teacher.') for key in missing)
    model = tiny.method('DACS', tiny.small(), seed=4)
    load_checkpoint(model, str(tmp_path / 'plain.pth'))
    for key, value in plain.state_dict().items():
        assert torch.equal(model.student.state_dict()[key], value), key


def test_predict_with_chooses_the_network():
    model = tiny.method('DACS', tiny.per_pixel(), predict_with='teacher').eval()
    with torch.no_grad():
        for network, favourite in (('student', 1), ('teacher', 3)):
            head = model.network(network).decode_head.conv_seg
            head.weight.zero_()
            head.bias.copy_(torch.nn.functional.one_hot(torch.tensor(favourite), 5))
    data = tiny.batch()['target']
    assert (model.test_step(data)[0].pred_sem_seg.data == 3).all()
    model.predict_with = 'student'
    assert (model.test_step(data)[0].pred_sem_seg.data == 1).all()


def test_source_only_has_no_teacher_and_equals_the_plain_segmentor():
    model, plain = tiny.method('SourceOnly', tiny.small(), seed=5), tiny.build(tiny.small(), seed=5)
    assert model.teacher is None
    assert model.networks == ('student',)
    model.update_teacher()  # nothing to do
    plain.load_state_dict(model.student.state_dict())
    torch.manual_seed(0)
    total, _ = tiny.losses_of(model, tiny.batch())
    torch.manual_seed(0)
    expected, _ = tiny.losses_of(plain, tiny.batch()['source'])
    torch.testing.assert_close(total, expected)


def test_a_plain_data_set_trains_source_only():
    model = tiny.method('SourceOnly', tiny.per_pixel())
    expected, _ = tiny.losses_of(model, tiny.batch())
    total, _ = tiny.losses_of(model, tiny.batch()['source'])
    torch.testing.assert_close(total, expected)


def test_a_method_is_a_class_with_defaults_alone():
    """A custom variant is a class of three lines."""

    class Own(MODELS.get('DACS')):
        defaults = dict(MODELS.get('DACS').defaults, masks=dict(classes=dict(type='BoxMask')))

    model = Own(segmentor=tiny.per_pixel())
    assert type(model.masks['classes']).__name__ == 'BoxMask'


def test_the_segmentors_own_preprocessor_wins():
    """mmengine's Runner hands the config's top-level one to the model, which may lack the crop size."""
    segmentor = tiny.per_pixel()
    own = segmentor['data_preprocessor']['size']
    bare = dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3)
    model = tiny.method('DACS', segmentor, data_preprocessor=bare)
    assert model.data_preprocessor.crop_size == tuple(own)
    without = {key: value for key, value in segmentor.items() if key != 'data_preprocessor'}
    assert tiny.method('DACS', without, data_preprocessor=dict(bare, size=own)).data_preprocessor.mean == [0.0] * 3
