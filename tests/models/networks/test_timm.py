"""Networks of timm as backbones; no weights are downloaded."""

import re

import pytest
import torch
from torch import nn

from mmseg_camix.models.backbones import SimplePyramid, TimmFeatures, TimmViT
from tests.models import dsp_tiny, tiny

SMALL = dict(depth=3, embed_dim=24, num_heads=2)
DINOV2 = dict(name='vit_small_patch14_dinov2', arguments=SMALL)
DINOV3 = dict(name='vit_small_patch16_dinov3', arguments=SMALL)


# Networks of different builds; regnet's names have no word for stages, densenet's layers are no stages.
@pytest.mark.parametrize('name', ['resnet10t', 'convnext_atto', 'efficientnet_b0', 'regnetx_002', 'densenet121',
                                  'swin_tiny_patch4_window7_224'])
def test_maps_have_the_channels_and_strides_that_are_announced(name):
    arguments = dict(swin=dict(depths=(1, 1, 1, 1)), densenet=dict(block_config=(1, 1, 1, 1)))
    net = TimmFeatures(name, arguments=arguments.get(re.match('[a-z]+', name)[0])).eval()
    with torch.no_grad():
        maps = net(torch.rand(1, 3, 64, 96))  # Swin, too, takes any size
    assert len(maps) == len(net.out_channels) == 4
    for x, channels, stride in zip(maps, net.out_channels, net.out_strides):
        assert tuple(x.shape) == (1, channels, 64 // stride, 96 // stride)
    depths = [net.layer_of(f'network.{n}') for n, _ in net.network.named_parameters()]
    assert min(depths) == 0
    assert max(depths) == net.num_layers_of_decay >= 4
    assert depths == sorted(depths)  # parameters come in the order of the layers
    assert len(set(depths)) == net.num_layers_of_decay + 1


@pytest.mark.parametrize('name', ['poolformer_s12', 'rdnet_tiny'])
def test_decay_without_known_depths_is_refused(name):
    with torch.device('meta'), pytest.raises(ValueError, match=f'does not say how deep the parts of {name}'):
        TimmFeatures(name).num_layers_of_decay  # noqa: B018


def test_a_hybrid_has_the_stride_of_its_convolutions_too():
    net = TimmViT('vit_tiny_r_s16_p8_224', arguments=dict(depth=1)).eval()
    assert net.out_strides == (8, 16, 32, 64)
    with torch.no_grad():
        assert [tuple(x.shape[2:]) for x in net(torch.rand(1, 3, 50, 64))] == [(8, 8), (4, 4), (2, 2), (1, 1)]


@pytest.mark.parametrize('kind', [DINOV2, DINOV3])
@pytest.mark.parametrize('size', [(64, 96), (50, 70)])
def test_pyramid_of_a_vit(kind, size):
    net = TimmViT(**kind).eval()
    patch = net.patch[0]
    with torch.no_grad():
        maps = net(torch.rand(1, 3, *size))
    rows, columns = (-(-side // patch) for side in size)
    expected = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns), (-(-rows // 2), -(-columns // 2))]
    assert [tuple(x.shape[2:]) for x in maps] == expected
    assert net.out_strides == (patch / 4, patch / 2, patch, patch * 2)
    assert [x.shape[1] for x in maps] == list(net.out_channels)


def test_maps_of_blocks_are_those_of_the_network():
    torch.manual_seed(0)
    net = TimmViT(**DINOV2, blocks=(0, -1), pyramid=False, norm=False).eval()
    image = torch.rand(1, 3, 28, 42)
    with torch.no_grad():
        first, last = net(image)
        tokens = net.network.patch_embed(image)
        tokens = net.network._pos_embed(tokens)
        for i, block in enumerate(net.network.blocks):
            tokens = block(tokens)
            if i == 0:
                torch.testing.assert_close(first, tokens[:, 1:].mT.unflatten(2, (2, 3)))
    torch.testing.assert_close(last, tokens[:, 1:].mT.unflatten(2, (2, 3)))


def resampling(old, new):
    """(new, old) weights of the cubic kernel with a = -1/2 between the centres of cells."""
    scale = old / new
    distance = [[abs(k + 0.5 - (i + 0.5) * scale) / max(scale, 1.0) for k in range(old)] for i in range(new)]
    weights = torch.tensor([[1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2
                             else 0.0 for d in row] for row in distance])
    return weights / weights.sum(1, keepdim=True)


@pytest.mark.parametrize('size', [(28, 56), (84, 42), (518, 518)])
def test_the_position_embedding_is_interpolated(size):
    torch.manual_seed(0)
    net = TimmViT('vit_small_patch14_dinov2', pyramid=False, norm=False, arguments=dict(SMALL, depth=1, img_size=84))
    nn.init.normal_(net.eval().network.pos_embed)
    first, others = net.network.pos_embed.detach()[0].split([1, 36])  # of the class token, of the patches
    rows, columns = (resampling(6, side // 14) for side in size)
    positions = torch.einsum('ri,cj,ijd->rcd', rows, columns, others.unflatten(0, (6, 6))).flatten(0, 1)
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        tokens = net.network.patch_embed.proj(image).flatten(2).mT + positions
        expected = net.network.blocks[0](torch.cat([net.network.cls_token + first, tokens], 1))
        torch.testing.assert_close(net(image)[0].flatten(2).mT, expected[:, 1:], rtol=1e-3, atol=1e-4)


def test_pyramid_by_hand():
    torch.manual_seed(0)
    pyramid = SimplePyramid(4)
    x = torch.rand(1, 4, 3, 5)
    finest, finer, same, coarser = pyramid([x])
    weight, bias = pyramid.scales[1].weight, pyramid.scales[1].bias
    for dy in (0, 1):
        for dx in (0, 1):
            expected = torch.einsum('bchw,ck->bkhw', x, weight[:, :, dy, dx]) + bias.view(1, -1, 1, 1)
            torch.testing.assert_close(finer[:, :, dy::2, dx::2], expected)
    assert torch.equal(same, x)
    assert torch.equal(coarser[0, :, 0, 0], x[0, :, :2, :2].amax((1, 2)))
    assert finest.shape == (1, 4, 12, 20)


def test_four_blocks_feed_four_scales():
    net = TimmViT('vit_small_patch14_dinov2', blocks=(0, 1, 2, -1), arguments=dict(SMALL, depth=4))
    assert net.blocks == (0, 1, 2, 3)
    with pytest.raises(ValueError, match='1 or 4 blocks, not 2'):
        TimmViT(**DINOV2, blocks=(0, 1))
    for wrong in ((0, 1, 1, 2), (2, 1, 0, -1), (3,), (-4,)):  # timm would give fewer maps, or in its own order
        with pytest.raises(ValueError, match=r'must ascend within 0 to 2, or -3 to -1'):
            TimmViT(**DINOV2, blocks=wrong)


@pytest.mark.parametrize(('name', 'blocks', 'norm'), [
    ('eva02_tiny_patch14_224', (-1,), True), ('vit_base_patch16_siglip_224', (-1,), True),  # with poolings of their own
    ('vit_small_patch14_dinov2', (1,), True), ('vit_small_patch14_dinov2', (0, 1), False)])
def test_every_parameter_learns(name, blocks, norm):
    """One without a gradient stops a training in several processes."""
    net = TimmViT(name, blocks=blocks, norm=norm, pyramid=False, arguments=dict(SMALL, embed_dim=32))
    sum(x.square().sum() for x in net(torch.rand(1, 3, 32, 32))).backward()
    assert [k for k, p in net.named_parameters() if p.grad is None] == []
    assert len(net.network.blocks) == net.num_layers_of_decay == net.blocks[-1] + 1


def test_maps_that_a_network_lacks_are_refused():
    for name, wrong in (('resnet10t', (1, 5)), ('levit_128s', None)):
        with pytest.raises(ValueError, match=rf'{name}: out_indices=.* must ascend within 0 to [24], or -[35] to -1'):
            TimmFeatures(name, out_indices=wrong)
    with pytest.raises(ValueError, match='must ascend'):
        TimmFeatures('resnet10t', out_indices=(4, 0))


def test_sizes_that_a_network_does_not_take():
    image = torch.rand(1, 3, 70, 65)
    with pytest.raises(ValueError, match='dla46_c does not take images of 70x65 pixels.*multiple_of=32 resizes'):
        TimmFeatures('dla46_c')(image)
    net = TimmFeatures('dla46_c', multiple_of=32).eval()
    resized = nn.functional.interpolate(image, (96, 96), mode='bilinear', align_corners=False)
    with torch.no_grad():
        for first, second in zip(net(image), net(resized)):
            assert torch.equal(first, second)


def test_frozen_stays_frozen_and_the_pyramid_learns():
    net = TimmViT(**DINOV2, frozen=True).train()
    assert not net.network.training
    assert net.pyramid.training
    sum(x.sum() for x in net(torch.rand(1, 3, 28, 28))).backward()
    assert all(p.grad is None for p in net.network.parameters())
    assert all(p.grad is not None for p in net.pyramid.parameters())
    net = TimmFeatures('resnet10t', frozen=True).train()
    assert not net.network.training
    assert not any(x.requires_grad for x in net(torch.rand(1, 3, 32, 32)))


def test_unknown_names_and_wrong_kinds_are_rejected():
    with pytest.raises(ValueError, match='timm has no network .convnext_nano9.; similar: convnext'):
        TimmFeatures('convnext_nano9')
    for name in ('resnet10t', 'beit_base_patch16_224'):  # they take no dynamic_img_size
        with pytest.raises(ValueError, match='is not a plain vision transformer.*use TimmFeatures'):
            TimmViT(name)
    with pytest.raises(ValueError, match='choose one'):
        TimmFeatures('resnet10t', pretrained=True, init_cfg=dict(type='PretrainedBackbone', checkpoint='x'))


# ------------------------------------------------------------------ under every method


VIT = dict(type='TimmViT', name='vit_small_patch16_dinov3', arguments=dict(depth=1, embed_dim=16, num_heads=2))
CONVOLUTIONAL = dict(type='TimmFeatures', name='resnet10t', out_indices=(1, 2, 3, 4))
# Arguments that depend on the five classes.
ARGUMENTS = {
    'DAFormer': dict(objectives=dict(features=dict(things=('building', 'wall'))),
                     pseudo_labels=dict(ignore_top=2, ignore_bottom=5)),
    'RCCR': dict(objectives=dict(contrast=dict(features=1))),
}


def segmentor(kind, frozen):
    widths = [16] * 4 if kind is VIT else [64, 128, 256, 512]
    head = dict(type='DAFormerHead', in_channels=widths, embed_dims=4, channels=4, num_classes=5)
    return tiny.encoder_decoder(dict(kind, frozen=frozen), head)


@pytest.mark.parametrize('method', ['SourceOnly', 'DACS', 'CAMix', 'RCCR', 'DSP', 'DAFormer', 'iDAFormer'])
@pytest.mark.parametrize(('kind', 'frozen'), [(VIT, False), (VIT, True), (CONVOLUTIONAL, False)],
                         ids=['vit', 'frozen vit', 'convolutional'])
def test_a_step(method, kind, frozen):
    model = tiny.method(method, segmentor(kind, frozen), **ARGUMENTS.get(method.removeprefix('i'), {}))
    total, _ = tiny.losses_of(model, dsp_tiny.batch_of(size=32) if method == 'DSP' else tiny.batch())
    total.backward()
    assert torch.isfinite(total)
    network = model.student.backbone.network
    assert any(p.grad is not None for p in network.parameters()) != frozen
    if kind is VIT:
        assert all(p.grad is not None for p in model.student.backbone.pyramid.parameters())
