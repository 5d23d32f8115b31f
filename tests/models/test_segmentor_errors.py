"""Segmentors that cannot be adapted are refused when the model is built; the trial leaves no trace."""

import pytest
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from mmseg_camix.models import UDASegmentor
from mmseg_camix.models.adapter import UnsupportedSegmentorError

from . import tiny
from .tiny import rejects


@MODELS.register_module()
class Queries(BaseModule):
    """As Mask2FormerHead: not a BaseDecodeHead."""

    num_classes = out_channels = tiny.CLASSES
    ignore_index, align_corners = 255, False

    def __init__(self, num_classes, **kwargs):
        super().__init__()


@MODELS.register_module()
class Wrong(MODELS.get('FCNHead')):
    """A head of a subclass of BaseDecodeHead whose output is no map of logits."""

    output = 'list'

    def forward(self, inputs):
        logits = super().forward(inputs)
        return [logits] if self.output == 'list' else logits.flatten(2)


def test_a_head_without_per_pixel_logits():
    head = tiny.linear_head(type='Queries')
    rejects('decode head Queries gives no per-pixel logits.*SegformerHead', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), head))


@pytest.mark.parametrize(('head', 'reason'), [
    ('MaskFormerHead', 'predicts masks'), ('mmseg.Mask2FormerHead', 'predicts masks'),
    ('SideAdapterCLIPHead', 'predicts masks'), ('PointHead', 'trains on points')])
@pytest.mark.parametrize('in_cascade', [False, True])
def test_heads_that_are_known_to_be_unsupported(head, reason, in_cascade):
    """Refused before they are built: without mmdet some of them fail with an unrelated TypeError."""
    config = dict(type=head)
    rejects(f'{head.split(".")[-1]} {reason}.*Use a per-pixel head such as', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), [config, config] if in_cascade else config))


@pytest.mark.parametrize(('output', 'match'), [('list', 'Wrong returned list'), ('flat', r'shape \(1, 5, 1024\)')])
def test_a_head_of_the_right_class_with_another_output(output, match, monkeypatch):
    monkeypatch.setattr(Wrong, 'output', output)
    rejects(match, UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), tiny.linear_head(type='Wrong')))


def test_a_head_that_declares_logits_is_accepted():
    """The way out for heads that do not derive from BaseDecodeHead."""

    @MODELS.register_module(force=True)
    class OwnHead(nn.Module):
        per_pixel_logits = True
        ignore_index, align_corners = 255, False

        def __init__(self, num_classes, **kwargs):
            super().__init__()
            self.num_classes = self.out_channels = num_classes
            self.conv = nn.Conv2d(3, num_classes, 1)

        def forward(self, inputs):
            return self.conv(inputs[0])

    tiny.method('DACS', tiny.encoder_decoder(dict(type='PassThrough'), tiny.linear_head(type='OwnHead')))


def test_one_logit_for_two_classes():
    head = tiny.linear_head(num_classes=2, out_channels=1, threshold=0.5,
                            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    rejects('out_channels=1 for num_classes=2', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), head))


def test_a_module_that_is_no_segmentor():
    rejects('no `extract_feat`', UnsupportedSegmentorError, segmentor=dict(type='BaseSegmentorStub'))


@MODELS.register_module()
class BaseSegmentorStub(nn.Module):
    pass


def test_a_crop_smaller_than_the_stride():
    resnet = tiny.segmentors()['FCN with an auxiliary head']
    resnet['data_preprocessor'] = tiny.preprocessor((8, 8))
    rejects(r'crop \(8, 8\) is too small for an output stride of 8', ValueError, segmentor=resnet)


def test_a_crop_that_the_network_cannot_work_on():
    unet = tiny.encoder_decoder(
        dict(type='UNet', base_channels=4, num_stages=4, strides=(1,) * 4, enc_num_convs=(1,) * 4,
             dec_num_convs=(1,) * 3, downsamples=(True,) * 3, enc_dilations=(1,) * 4, dec_dilations=(1,) * 3),
        tiny.fcn(4, 4, in_index=3, num_convs=0), crop=(12, 12))
    rejects(r'cannot process a blank image.*data_preprocessor.size=\(12, 12\)', ValueError, segmentor=unet)


def test_channels_that_do_not_fit():
    rejects('cannot process a blank image', ValueError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), tiny.fcn(7, 7, num_convs=0)))


@MODELS.register_module()
class Sevens(BaseModule):
    """As a vision transformer with patches of 14 pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 14, 14)

    def forward(self, image):
        if image.shape[2] % 14:
            raise AssertionError(f'{image.shape[2]} is no multiple of 14')
        return (self.conv(image),)


def test_a_network_that_takes_certain_sizes_only():
    """A large crop is tried in part, to be quick, but never refused for that."""
    fitting = tiny.encoder_decoder(dict(type='Sevens'), tiny.fcn(4, 4), crop=(140, 140))
    assert tiny.method('DACS', fitting).stride == 14
    rejects('132 is no multiple of 14.*size=.132, 132', ValueError,
            segmentor=tiny.encoder_decoder(dict(type='Sevens'), tiny.fcn(4, 4), crop=(132, 132)))


def test_the_probe_leaves_no_trace():
    """Batch statistics and the mode are as they were; no random number is drawn."""
    torch.manual_seed(0)
    plain = MODELS.build(tiny.small())
    expected = torch.rand(1)
    torch.manual_seed(0)
    model = UDASegmentor(tiny.small(), objectives=dict(source=dict(type='SupervisedLoss')))
    assert torch.equal(torch.rand(1), expected)
    for key, value in plain.state_dict().items():
        assert torch.equal(model.student.state_dict()[key], value), key
    assert all(module.training for module in model.student.modules())
