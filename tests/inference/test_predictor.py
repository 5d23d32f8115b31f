"""Label maps as mmseg predicts them, whatever the image's size."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from torch.nn.functional import interpolate

from mmseg_camix_tools.inference import predictor as module
from mmseg_camix_tools.inference.predictor import Predictor, label_map, sliding_logits
from tests.datasets.tiny import write_image
from tests.export.networks import labels_by_mmseg
from tests.models import tiny

PLAIN = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
RESIZED = [PLAIN[0], dict(type='Resize', scale=(40, 32)), PLAIN[1]]
SLIDE = dict(mode='slide', crop_size=(16, 24), stride=(10, 12))


def segmentor(**changes):
    model = tiny.build(tiny.small(dropout=0.0, **changes)).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.mul_(100)
    return model


def ours(model, pipeline, *paths):
    predictor = Predictor(model, pipeline)
    return predictor.label([predictor.prepare(predictor.read(str(path)), str(path)) for path in paths])


@pytest.mark.parametrize('pipeline', [PLAIN, RESIZED, [dict(type='LoadImage', to_float32=True), *RESIZED[1:]]])
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE])
def test_as_mmseg(tmp_path, pipeline, test_cfg):
    model = segmentor()
    model.test_cfg = ConfigDict(test_cfg)
    write_image(tmp_path / 'a.png', 1, (50, 70))
    assert_as_mmseg(model, pipeline, tmp_path / 'a.png')


def assert_as_mmseg(model, pipeline, *paths):
    for label, path in zip(ours(model, pipeline, *paths), paths):
        expected = labels_by_mmseg(model, path, pipeline)
        assert len(np.unique(expected)) > 1
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, expected)


def test_a_batch_of_images_of_several_sizes(tmp_path):
    paths = [tmp_path / f'{i}.png' for i in range(3)]
    for i, path in enumerate(paths):
        write_image(path, i, (50 + 10 * i, 70))
    assert_as_mmseg(segmentor(), RESIZED, *paths)


def padded():
    """A network whose inputs are padded."""
    config = tiny.small(dropout=0.0)
    config['data_preprocessor']['test_cfg'] = dict(size_divisor=32)
    return config


def single_logit():
    """Two classes by one sigmoid with a threshold, as mmseg has it."""
    return tiny.encoder_decoder(dict(type='PassThrough'), tiny.linear_head(
        num_classes=2, out_channels=1, threshold=0.4, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)))


@pytest.mark.parametrize('config', [padded, single_logit])
def test_padding_and_a_single_logit(tmp_path, config):
    write_image(tmp_path / 'a.png', 1, (50, 70))
    assert_as_mmseg(tiny.build(config()).eval(), PLAIN, tmp_path / 'a.png')


@pytest.mark.parametrize(('size', 'window', 'stride'), [
    ((40, 56), (16, 24), (10, 12)), ((40, 56), (64, 64), (32, 32)), ((40, 56), (40, 20), (40, 20)),
    ((41, 33), (16, 48), (16, 16))])
def test_windows_are_those_of_mmseg_bit_for_bit(size, window, stride):
    model = segmentor()
    model.test_cfg = ConfigDict(mode='slide', crop_size=window, stride=stride)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = model.slide_inference(image, [dict(img_shape=size)] * 2)
        assert torch.equal(sliding_logits(model, image, window, stride), expected)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('given', 'size'), [((5, 7), (40, 33)), ((20, 30), (7, 9)), ((6, 6), (6, 6)), ((1, 1), (5, 4)),
                                             ((9, 4), (1, 1)), ((4, 4), (1, 50))])
def test_bands_make_no_difference(given, size, align_corners):
    logits = torch.randn(5, *given, generator=torch.Generator().manual_seed(0))
    whole = interpolate(logits[None], size, mode='bilinear', align_corners=align_corners)[0]
    top = whole.topk(2, 0).values
    clear = top[0] - top[1] > 1e-4  # nearer than rounding, either will do
    assert clear.float().mean() > 0.9
    for band_values in (1, 5 * size[1] * 3, 10**9):
        labels = label_map(logits, size, align_corners, band_values=band_values)
        assert torch.equal(labels[clear].long(), whole.argmax(0)[clear]), band_values


def test_a_large_image_is_never_interpolated_at_once(monkeypatch):
    sizes = []

    def recorded(*args, **kwargs):
        result = interpolate(*args, **kwargs)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(module, 'interpolate', recorded)
    assert label_map(torch.randn(5, 8, 8), (400, 300), False, band_values=20_000).shape == (400, 300)
    assert max(sizes) <= 20_000
    assert sum(sizes) == 5 * 400 * 300


def test_many_classes():
    model = segmentor(num_classes=300)
    predictor = Predictor(model, PLAIN)
    with torch.no_grad():
        model.decode_head.conv_seg.bias[280] += 1e6
    label, = predictor.label([predictor.prepare(np.zeros((32, 32, 3), np.uint8))])
    assert label.dtype == np.int16
    assert (label == 280).all()


def test_damaged_images(tmp_path):
    write_image(tmp_path / 'a.png', 1)
    content = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'half.png').write_bytes(content[:len(content) // 2])
    (tmp_path / 'text.png').write_text('hello')
    (tmp_path / 'bomb.png').write_bytes(content[:16] + bytes([0, 0, 234, 96] * 2) + content[24:])  # 60000 x 60000
    foreign = [dict(type='LoadImageFromFile', imdecode_backend='pillow'), PLAIN[1]]
    for pipeline in (PLAIN, foreign):
        for name in ('half.png', 'text.png', 'nothing.png', 'bomb.png: the PNG announces'):
            with pytest.raises(OSError, match=name):
                Predictor(segmentor(), pipeline).read(str(tmp_path / name.split(':')[0]))
