"""MiT and the DAFormer head: counts, strides, and the head against one written by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_camix.models.backbones import MiT
from mmseg_camix.models.heads import DAFormerHead

# Millions of parameters of the encoders, SegFormer paper, Table 1 (a).
PAPER = {'b0': 3.4, 'b1': 13.1, 'b2': 24.2, 'b3': 44.0, 'b4': 60.8, 'b5': 81.4}
WIDTHS = (4, 6, 8, 10)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('variant', PAPER)
def test_counts_of_the_encoders(variant):
    assert parameters(MiT(variant)) / 1e6 == pytest.approx(PAPER[variant], abs=0.11)


def test_counts_of_daformer():
    embeddings, classifier = (64 + 128 + 320 + 512) * 256 + 4 * 256, 256 * 19 + 19
    one_by_one = 1024 * 256 + 2 * 256  # weights, then scale and shift
    separable = 1024 * 9 + 2 * 1024 + one_by_one
    bottleneck = 4 * 256 * 256 * 9 + 2 * 256
    assert parameters(DAFormerHead()) == embeddings + one_by_one + 3 * separable + bottleneck + classifier == 3_712_275
    assert parameters(DAFormerHead(fusion='plain')) == embeddings + one_by_one + classifier


def test_strides_and_channels():
    net = MiT('b0').eval()
    with torch.no_grad():
        shapes = [tuple(x.shape) for x in net(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6), (1, 256, 2, 3)]
    assert net.out_channels == (32, 64, 160, 256)


def test_stochastic_depth_grows_to_what_was_asked_for():
    drops = [block.ffn.dropout_layer for stage in MiT('b0', drop_path_rate=0.35).layers for block in stage[1]]
    assert [getattr(drop, 'drop_prob', 0.0) for drop in drops] == pytest.approx([0.05 * i for i in range(8)])


def test_unknown_variants_are_listed():
    with pytest.raises(ValueError, match='b0, b1, b2, b3, b4, b5'):
        MiT('b6')


def test_attention_without_weights_gives_the_same():
    from mmseg.models.backbones import MixVisionTransformer
    torch.manual_seed(0)
    ours = MiT('b0', drop_path_rate=0).eval()
    stock = MixVisionTransformer(embed_dims=32, num_layers=[2, 2, 2, 2], num_heads=[1, 2, 5, 8]).eval()
    stock.load_state_dict(ours.state_dict())
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        for first, second in zip(ours(image), stock(image)):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_layers_of_decay_grow_with_depth():
    net = MiT('b0')
    names = [name for name, _ in net.named_parameters()]
    depths = [net.layer_of(name) for name in names]
    assert min(depths) == 0
    assert max(depths) == net.num_layers_of_decay == 8
    assert net.layer_of('layers.0.0.projection.weight') == 0
    assert net.layer_of('layers.0.1.1.norm1.weight') == 2
    assert net.layer_of('layers.1.0.projection.weight') == 2
    assert net.layer_of('layers.3.2.weight') == 8


def levels() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, c, *size) for c, size in zip(WIDTHS, ((24, 20), (12, 10), (6, 5), (3, 3)))]


def normalised(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    shape = (1, -1, 1, 1)
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return (x - bn.running_mean.view(shape)) * scale.view(shape) + bn.bias.view(shape)


def conv(x: Tensor, module: nn.Module, rate: int = 1, groups: int = 1) -> Tensor:
    weight = module.conv.weight
    padding = rate * (weight.shape[-1] // 2)
    return normalised(F.conv2d(x, weight, None, 1, padding, rate, groups), module.bn).clamp(min=0)


def by_hand(head: DAFormerHead, inputs: list[Tensor], fusion: str) -> Tensor:
    maps = []
    for i, x in enumerate(inputs):
        layer = head.embed_layers[i].proj
        x = torch.einsum('bchw,kc->bkhw', x, layer.weight) + layer.bias.view(1, -1, 1, 1)
        maps.append(F.interpolate(x, inputs[0].shape[2:], mode='bilinear', align_corners=False))
    x = torch.cat(maps, 1)
    if fusion == 'plain':
        x = conv(x, head.fuse_layer)
    else:
        branches = head.fuse_layer.aspp_modules
        out = [conv(x, branches[0])]
        for rate, branch in zip((6, 12, 18), list(branches)[1:]):
            if fusion == 'context':
                deep = conv(x, branch.depthwise_conv, rate, groups=x.shape[1])
                out.append(conv(deep, branch.pointwise_conv))
            else:
                out.append(conv(x, branch, rate))
        x = conv(torch.cat(out, 1), head.fuse_layer.bottleneck)
    return F.conv2d(x, head.conv_seg.weight, head.conv_seg.bias)


@pytest.mark.parametrize('fusion', ['context', 'aspp', 'plain'])
def test_head_equals_the_reference(fusion):
    torch.manual_seed(0)
    head = DAFormerHead(WIDTHS, 5, embed_dims=7, channels=9, fusion=fusion).eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                value.data.uniform_(0.5, 1.5)
    with torch.no_grad():
        torch.testing.assert_close(head(levels()), by_hand(head, levels(), fusion), rtol=1e-4, atol=1e-4)


def test_dropout_and_sizes():
    head = DAFormerHead(WIDTHS, 5)
    assert head.dropout.p == 0.1
    assert DAFormerHead(WIDTHS, 5, dropout_ratio=0.3).dropout.p == 0.3
    assert head.align_corners is False
    assert tuple(head(levels()).shape) == (2, 5, 24, 20)


def test_names_are_those_of_the_released_code():
    names = set(DAFormerHead().state_dict())
    for name in ('embed_layers.3.proj.weight', 'fuse_layer.aspp_modules.0.conv.weight',
                 'fuse_layer.aspp_modules.1.depthwise_conv.bn.running_var',
                 'fuse_layer.aspp_modules.3.pointwise_conv.conv.weight', 'fuse_layer.bottleneck.bn.weight',
                 'conv_seg.bias'):
        assert name in names


def test_unknown_fusions_are_listed():
    with pytest.raises(ValueError, match='context, aspp, plain'):
        DAFormerHead(fusion='isa')
