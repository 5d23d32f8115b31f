"""Weights of timm's networks, from files of timm and of the authors; none are downloaded."""

from unittest.mock import Mock

import pytest
import timm
import torch

from mmseg_camix.models.backbones import TimmFeatures, TimmViT
from mmseg_camix.weights import PretrainedBackbone, WeightsError

from .test_timm import DINOV2, DINOV3, SMALL


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
    with pytest.raises(WeightsError, match='no weights of timm.*: nothing.weight. If names .* give prefix='):
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


def whole_vit(path, **arguments):
    torch.manual_seed(3)
    whole = timm.create_model('vit_small_patch14_dinov2', pretrained=False, **dict(SMALL, **arguments))
    torch.save(whole.state_dict(), path)
    return whole.state_dict()


@pytest.mark.parametrize('frozen', [False, True])
def test_what_was_loaded_is_not_initialised_again(frozen, tmp_path):
    """mmengine calls `init_weights` of the parts, and timm's ViTs and HRNets have such a method."""
    theirs = whole_vit(tmp_path / 'w.pth', img_size=518)
    net = TimmViT(**DINOV2, frozen=frozen, init_cfg=dict(type='PretrainedBackbone', checkpoint=str(tmp_path / 'w.pth')))
    net.init_weights()
    for name, value in net.network.state_dict().items():
        torch.testing.assert_close(value, theirs[name], msg=name)


def test_what_was_downloaded_is_not_initialised_again(tmp_path, monkeypatch):
    create, theirs = timm.create_model, whole_vit(tmp_path / 'w.pth', img_size=518)

    def from_the_file(name, pretrained, **options):
        overlay = dict(pretrained_cfg_overlay=dict(file=str(tmp_path / 'w.pth'))) if pretrained else {}
        return create(name, pretrained=pretrained, **overlay, **options)

    monkeypatch.setattr(timm, 'create_model', from_the_file)
    net = TimmViT(**DINOV2, blocks=(1,), pretrained=True)
    net.init_weights()
    for name, value in net.network.state_dict().items():
        torch.testing.assert_close(value, theirs[name], msg=name)


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    net = TimmViT(**DINOV2, pretrained=True)
    monkeypatch.setattr(timm, 'create_model', Mock(side_effect=OSError('no route to host')))
    with pytest.raises(WeightsError, match='could not download.*no route to host.*init_cfg=.*FILE'):
        net.init_weights()


def test_blocks_that_are_not_used_may_be_in_the_file_and_others_not(tmp_path):
    theirs = whole_vit(tmp_path / 'w.pth')
    net = TimmViT(**DINOV2, blocks=(0,))
    PretrainedBackbone(str(tmp_path / 'w.pth'))(net)
    torch.testing.assert_close(net.network.blocks[0].mlp.fc1.weight, theirs['blocks.0.mlp.fc1.weight'])
    whole_vit(tmp_path / 'deeper.pth', depth=4)
    with pytest.raises(WeightsError, match=r'unexpected 14: network.blocks.3.norm1.weight'):
        PretrainedBackbone(str(tmp_path / 'deeper.pth'))(net)
