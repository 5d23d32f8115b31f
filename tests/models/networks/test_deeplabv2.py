"""DeepLabV2: shapes and counts that the papers' numbers belong to, the head against a sum by hand."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_camix.models import adapter
from mmseg_camix.models.backbones import DeepLabResNet, DeepLabVGG16
from mmseg_camix.models.heads import DeepLabV2Head
from tests.models.tiny import encoder_decoder


def parameters(module: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.fixture(scope='module')
def resnet() -> DeepLabResNet:
    return DeepLabResNet(101)


def test_counts_of_resnet_101(resnet):
    # torchvision's resnet101 has 44,549,160 with its classifier of 2,049,000.
    assert parameters(resnet) == 44_549_160 - 2_049_000
    affine = sum(m.weight.numel() + m.bias.numel() for m in resnet.modules() if isinstance(m, nn.BatchNorm2d))
    assert parameters(resnet, trained=True) == parameters(resnet) - affine
    # Two rates, 19 classes: 2 * (2048 * 9 + 1) * 19.
    assert parameters(DeepLabV2Head()) == 2 * (2048 * 9 + 1) * 19


def test_512_pixels_become_65_cells_as_the_arithmetic_says():
    shallow = DeepLabResNet(18, style='pytorch')  # the same strides and pools
    floored = DeepLabResNet(18, style='pytorch', ceil_mode=False)
    with torch.no_grad():
        shapes = [tuple(x.shape[2:]) for x in shallow(torch.zeros(1, 3, 512, 64))]
        assert shapes == [(129, 17), (65, 9), (65, 9), (65, 9)]
        assert [x.shape[2] for x in floored(torch.zeros(1, 3, 512, 64))] == [128, 64, 64, 64]


def test_strides_and_dilations_of_the_blocks(resnet):
    assert resnet.layer2[0].conv1.stride == (2, 2)  # in the 1x1 convolution
    assert resnet.layer2[0].conv2.stride == (1, 1)
    for layer, dilation in ((resnet.layer3, 2), (resnet.layer4, 4)):
        assert all(block.conv2.dilation == (dilation, dilation) for block in layer)
        assert all(block.conv1.stride == block.conv2.stride == (1, 1) for block in layer)


def test_normalisation_uses_batch_statistics_but_is_not_trained():
    net, calm = (DeepLabResNet(18, style='pytorch', norm_eval=calm) for calm in (False, True))
    for item in (net, calm):  # mmseg's `train` returns nothing
        item.train()
    before = net.bn1.running_mean.clone()
    sum(x.sum() for x in net(torch.rand(2, 3, 32, 32))).backward()
    assert not torch.equal(net.bn1.running_mean, before)
    assert net.bn1.weight.grad is None
    assert net.conv1.weight.grad is not None
    assert not calm.bn1.training


@pytest.mark.parametrize('rates', [(6,), (6, 12), (6, 12, 18, 24), (1, 2)])
def test_head_is_the_sum_of_its_classifiers(rates):
    torch.manual_seed(0)
    head = DeepLabV2Head(8, 5, dilations=rates)
    features = torch.rand(2, 8, 13, 11)
    expected = torch.zeros(2, 5, 13, 11)
    for rate, classifier in zip(rates, head.classifiers):
        padded = F.pad(features, [rate] * 4)
        for row in range(3):
            for column in range(3):
                part = padded[:, :, row * rate:row * rate + 13, column * rate:column * rate + 11]
                expected += torch.einsum('bchw,kc->bkhw', part, classifier.weight[:, :, row, column])
        expected += classifier.bias[None, :, None, None]
    assert len(head.classifiers) == len(rates)
    torch.testing.assert_close(head([features]), expected, rtol=1e-4, atol=1e-5)


def test_head_starts_as_the_papers_do():
    torch.manual_seed(0)
    head = DeepLabV2Head(256, 19)
    head.init_weights()
    for classifier in head.classifiers:
        assert abs(float(classifier.weight.std()) - 0.01) < 5e-4
        assert not classifier.bias.any()
    assert head.dropout is None
    assert head.align_corners is True


def test_head_without_rates_is_refused():
    with pytest.raises(ValueError, match='at least one rate'):
        DeepLabV2Head(8, 5, dilations=())


def test_vgg_stride_count_and_names():
    torchvision = pytest.importorskip('torchvision')
    net = DeepLabVGG16().eval()
    theirs = torchvision.models.vgg16(weights=None).features.state_dict()
    assert {k: v.shape for k, v in net.features.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
    # 14,714,688 in `features`, then 3x3x512x1024 and 3x3x1024x1024 with biases.
    assert parameters(net) == 14_714_688 + 9 * 512 * 1024 + 1024 + 9 * 1024 * 1024 + 1024
    with torch.no_grad():
        (out,) = net(torch.zeros(1, 3, 64, 48))
    assert tuple(out.shape) == (1, 1024, 8, 6)
    convs = [m for m in net.features if isinstance(m, nn.Conv2d)]
    assert [c.dilation[0] for c in (*convs, net.fc6, net.fc7)] == [1] * 10 + [2] * 3 + [4] * 2


@pytest.mark.parametrize('crop', [24, 56, 64, 66, 72, 96, 112, 128])
def test_deeplab_has_stride_eight_for_crops_of_all_sizes(crop):
    """Its max pool rounds up, so that maps have one cell more than the quotient."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        net = MODELS.build(encoder_decoder(dict(type='DeepLabResNet', depth=18, style='pytorch'),
                                           dict(type='DeepLabV2Head', in_channels=512, num_classes=5)))
    assert adapter.check_crop(net, (crop, crop)) == 8
    assert adapter.feature_shape(net, (crop, crop), -1) == (512, 8)
