"""Networks of timm as backbones; no weights are downloaded."""

import re

import pytest
import timm
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from mmseg_camix.engine.weights import PretrainedBackbone, WeightsError
from mmseg_camix.models.backbones import SimplePyramid, TimmFeatures, TimmViT

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


def test_decay_without_known_depths_is_refused():
    with pytest.raises(ValueError, match='does not say how deep the parts of poolformer_s12'):
        TimmFeatures('poolformer_s12').num_layers_of_decay  # noqa: B018


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
    expected = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns),
                (-(-rows // 2), -(-columns // 2))]
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


def test_the_position_embedding_is_interpolated():
    torch.manual_seed(0)
    net = TimmViT(**DINOV2, pyramid=False).eval()
    nn.init.normal_(net.network.pos_embed)
    with torch.no_grad():
        small, large = (net(torch.zeros(1, 3, side, side))[0] for side in (28, 56))
    assert not torch.allclose(small.mean((2, 3)), large.mean((2, 3)))  # other places, other positions
    # (a blank image differs from place to place by its positions alone)
    assert float(large.std((2, 3)).mean()) > 1e-3


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


def test_unknown_names_and_wrong_kinds_teach():
    with pytest.raises(ValueError, match='timm has no network .convnext_nano9.; similar: convnext'):
        TimmFeatures('convnext_nano9')
    for name in ('resnet10t', 'beit_base_patch16_224'):  # they take no dynamic_img_size
        with pytest.raises(ValueError, match='is not a plain vision transformer.*use TimmFeatures'):
            TimmViT(name)
    with pytest.raises(ValueError, match='choose one'):
        TimmFeatures('resnet10t', pretrained=True, init_cfg=dict(type='PretrainedBackbone', checkpoint='x'))


@pytest.mark.parametrize('name', ['resnet10t', 'convnext_atto', 'vit_tiny_patch16_224'])
def test_weights_of_the_whole_network_fit_its_features(name, tmp_path):
    torch.manual_seed(0)
    arguments = dict(depth=2, img_size=64) if name.startswith('vit') else {}
    whole = timm.create_model(name, pretrained=False, **arguments).eval()
    torch.save(whole.state_dict(), tmp_path / 'w.pth')
    net = TimmFeatures(name, out_indices=(-1,), arguments=arguments).eval()
    PretrainedBackbone(str(tmp_path / 'w.pth'))(net)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = whole.forward_intermediates(image, intermediates_only=True, norm=False)[-1]
        torch.testing.assert_close(net(image)[0], theirs)


@pytest.mark.parametrize('kind', [DINOV2, DINOV3])
def test_weights_of_a_vit_at_another_size(kind, tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model(kind['name'], pretrained=False, num_classes=7, img_size=112, **SMALL)
    torch.save(dict(model=whole.state_dict()), tmp_path / 'w.pth')
    net = TimmViT(**kind)
    pyramid = {k: v.clone() for k, v in net.pyramid.state_dict().items()}
    PretrainedBackbone(str(tmp_path / 'w.pth'))(net)
    torch.testing.assert_close(net.network.blocks[2].mlp.fc1.weight, whole.blocks[2].mlp.fc1.weight)
    assert all(torch.equal(v, pyramid[k]) for k, v in net.pyramid.state_dict().items())
    torch.save({'nothing.weight': torch.ones(1)}, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='no weights of timm'):
        PretrainedBackbone(str(tmp_path / 'x.pth'))(net)


def authors_dino(version, registers, width=24, depth=2, patch=14):
    """The names and shapes of Meta's files: DINOv2 has embedded positions, DINOv3 rotates."""
    shapes = {'cls_token': (1, 1, width), 'mask_token': (1, width), 'patch_embed.proj.weight': (width, 3, patch, patch),
              'patch_embed.proj.bias': (width,), 'norm.weight': (width,), 'norm.bias': (width,)}
    shapes |= {'pos_embed': (1, 1 + 37 * 37, width)} if version == 2 else {'rope_embed.periods': (3,)}
    if registers:
        shapes['register_tokens' if version == 2 else 'storage_tokens'] = (1, registers, width)
    for i in range(depth):
        for part, rows, columns in (('attn.qkv', 3, 1), ('attn.proj', 1, 1), ('mlp.fc1', 4, 1), ('mlp.fc2', 1, 4)):
            shapes |= {f'blocks.{i}.{part}.weight': (rows * width, columns * width),
                       f'blocks.{i}.{part}.bias': (rows * width,)}
        shapes |= {f'blocks.{i}.{part}': (width,) for part in (
            'norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'ls1.gamma', 'ls2.gamma')}
        if version == 3:
            shapes[f'blocks.{i}.attn.qkv.bias_mask'] = (3 * width,)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(('name', 'version', 'registers'), [
    ('vit_small_patch14_dinov2', 2, 0), ('vit_small_patch14_reg4_dinov2', 2, 4), ('vit_small_patch16_dinov3', 3, 4)])
@pytest.mark.parametrize('trainer', [False, True])
def test_weights_of_dino_as_its_authors_publish_them(name, version, registers, trainer, tmp_path):
    theirs = authors_dino(version, registers, patch=int(name.split('patch')[1][:2]))
    state = theirs if not trainer else {'teacher': {f'backbone.{k}': v for k, v in theirs.items()} | {
        'dino_head.mlp.0.weight': torch.ones(1)}}
    torch.save(state, tmp_path / 'w.pth')
    net = TimmViT(name, arguments=dict(SMALL, depth=2))
    PretrainedBackbone(str(tmp_path / 'w.pth'))(net)
    for i, block in enumerate(net.network.blocks):
        torch.testing.assert_close(block.attn.proj.weight, theirs[f'blocks.{i}.attn.proj.weight'])
        scale = block.ls1.gamma if version == 2 else block.gamma_1
        torch.testing.assert_close(scale, theirs[f'blocks.{i}.ls1.gamma'])
    if registers:
        torch.testing.assert_close(net.network.reg_token, theirs[
            'register_tokens' if version == 2 else 'storage_tokens'])
    del theirs['blocks.1.ls2.gamma']
    torch.save(theirs, tmp_path / 'partial.pth')
    with pytest.raises(WeightsError, match='missing 1: network.blocks.1.(ls2.gamma|gamma_2)'):
        PretrainedBackbone(str(tmp_path / 'partial.pth'))(net)


def test_usable_in_a_segmentor():
    from tests.models.tiny import encoder_decoder
    head = dict(type='DAFormerHead', in_channels=[24] * 4, embed_dims=8, channels=8, num_classes=5)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(encoder_decoder(dict(type='TimmViT', **DINOV3), head))
    assert tuple(model(torch.rand(1, 3, 32, 32), None, 'tensor').shape) == (1, 5, 8, 8)
