"""Views of which a ViT gets a part of the tokens, and views with an augmentation of their own."""

import pytest
import torch
from torch.nn import functional as F

from mmseg_camix.models.backbones import TimmViT
from mmseg_camix.ops.masks import random_cells
from tests.devices import seeded
from tests.sync_counter import no_sync

from . import tiny

SMALL = dict(depth=2, embed_dim=24, num_heads=2)
DINOV2 = dict(name='vit_small_patch14_dinov2', arguments=SMALL)
DINOV3 = dict(name='vit_small_patch16_dinov3', arguments=SMALL)  # with rotary embeddings and registers
VIT = dict(type='TimmViT', name='vit_tiny_patch16_224', arguments=dict(depth=1, embed_dim=8, num_heads=1, img_size=32))
VIEW = dict(views=dict(masked=dict(type='DroppedTokens')),
            objectives=dict(masked=dict(type='PixelCrossEntropy', view='masked')))


def vit_segmentor(**backbone):
    head = dict(type='DAFormerHead', in_channels=[8] * 4, embed_dims=4, channels=4, num_classes=5)
    return tiny.encoder_decoder(dict(VIT, **backbone), head, crop=(64, 64))


def method(kind='DACS', **arguments):
    return tiny.method(kind, vit_segmentor(), **{**VIEW, **arguments})


@pytest.mark.parametrize(('cells', 'count'), [(7, 1), (7, 7), (50, 15)])
def test_random_cells(cells, count):
    with no_sync():
        draws = [random_cells(3, cells, count, seeded(seed)) for seed in (0, 0, 1)]
    assert draws[0].shape == (3, count)
    assert torch.equal(draws[0], draws[1])
    assert (draws[0].diff(dim=1) > 0).all(), 'ascending, so without repetition'
    assert draws[0].min() >= 0
    assert draws[0].max() < cells
    if count < cells // 2:
        assert not torch.equal(draws[0], draws[2])
        assert not torch.equal(draws[0][0], draws[0][1]), 'each image has its own'


def test_each_cell_is_as_likely():
    counts = torch.bincount(random_cells(4000, 10, 3, seeded(0)).flatten(), minlength=10)
    assert (counts / 4000 - 0.3).abs().max() < 0.03


def attended(net, image, kept):
    """The last block's map by the definition: dropped patches are keys and queries of no attention (ViT)."""
    network = net.network
    tokens = network._pos_embed(network.patch_embed(image))
    places = torch.cat([torch.zeros(1, dtype=torch.long), kept + 1])  # the class token is first
    for block in network.blocks:
        tokens = tokens.clone()
        tokens[:, places] = block(tokens[:, places])
    tokens = network.norm(tokens)
    expected = torch.zeros(1, net.out_channels[0], image.shape[2] // 14, image.shape[3] // 14)
    for index in kept.tolist():
        expected[0, :, index // expected.shape[3], index % expected.shape[3]] = tokens[0, index + 1]
    return expected


def test_dropped_tokens_against_a_slow_reference():
    torch.manual_seed(0)
    net = TimmViT(**DINOV2, pyramid=False).eval()
    image = torch.rand(2, 3, 42, 56)  # 3 x 4 patches
    kept = random_cells(2, 12, 5, seeded(0))
    before = net.network.patch_drop
    with torch.no_grad():
        features, = net(image, kept=kept)
        for i in range(2):
            torch.testing.assert_close(features[i:i + 1], attended(net, image[i:i + 1], kept[i]))
    assert net.network.patch_drop is before


@pytest.mark.parametrize('kind', [DINOV2, DINOV3])
def test_properties(kind):
    torch.manual_seed(0)
    net = TimmViT(**kind, pyramid=False).eval()
    image = torch.rand(1, 3, 3 * net.patch[0], 4 * net.patch[1] - 2)
    assert net.count_tokens(*image.shape[2:]) == 12
    with torch.no_grad():
        torch.testing.assert_close(net(image, kept=torch.arange(12)[None])[0], net(image)[0])  # all are kept
        kept = torch.tensor([[0, 5, 11]])
        inputs = tiny.inputs_of(net.network.blocks[0])
        features = net(image, kept=kept)[0].flatten(2)
        assert inputs[0].shape[1] == 3 + net.network.num_prefix_tokens, 'the blocks get the kept tokens only'
        assert (features[0].abs().sum(0) > 0).nonzero().flatten().tolist() == [0, 5, 11]
        image[:, :, :net.patch[0], net.patch[1] + 3:2 * net.patch[1] - 3] += 1  # within patch 1, which is dropped
        torch.testing.assert_close(net(image, kept=kept)[0].flatten(2), features)


def test_the_view_and_its_loss():
    """Same label, weight and q as the masked view's; its pass sees 30 % of the tokens; other views see all."""
    model = method(augment=tiny.NO_AUGMENTATION, pseudo_labels=dict(threshold=0.0), views=dict(masked=dict(
        type='DroppedTokens', ratio=0.7), mixed=dict(type='Augmented')), masks=dict(classes=None))
    model.student.decode_head.dropout.p = 0.0
    data = model.data_preprocessor(tiny.batch(64), True)
    step = tiny.step_of(model, data)
    view = step.views['masked']
    assert view.kept.shape == (2, 5)  # of 16
    assert torch.equal(view.image, step.images['target'])
    assert view.targets is step.views['target'].targets
    inputs = tiny.inputs_of(model.student.backbone.network.blocks[0])
    losses = model.loss(**data)
    assert sorted(x.shape[1] for x in inputs) == [6, 17, 17]  # masked, mixed, source
    repeated = tiny.step_of(model, data)
    assert torch.equal(repeated.views['masked'].kept, view.kept), 'the draw follows from seed and iteration'
    model.set_progress(1, 100)
    assert not torch.equal(tiny.step_of(model, data).views['masked'].kept, view.kept)
    model.student.train()
    logits = model.student.decode_head(model.student.backbone(view.image, kept=view.kept))
    logits = F.interpolate(logits, (64, 64), mode='bilinear', align_corners=False)
    expected = F.cross_entropy(logits, view.target.label, reduction='none') * view.target.weight
    torch.testing.assert_close(losses['masked.loss_ce'], expected.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', ['CAMix', 'RCCR', 'DAFormer'])
def test_it_combines_with_other_methods(kind):
    arguments = dict(
        CAMix={},
        RCCR=dict(objectives=dict(VIEW['objectives'], contrast=dict(features=1))),
        DAFormer=dict(objectives=dict(VIEW['objectives'], features=dict(things=('building',))),
                      pseudo_labels=dict(ignore_top=2, ignore_bottom=5)))[kind]
    arguments['pseudo_labels'] = dict(arguments.get('pseudo_labels', {}), threshold=0.0)
    model = method(kind, **arguments)
    total, logged = tiny.losses_of(model, tiny.batch(64))
    total.backward()
    assert logged['masked.loss_ce'] > 0
    assert all(p.grad is not None for p in model.student.parameters())


@pytest.mark.parametrize(('segmentor', 'changes', 'match'), [
    (None, dict(views=dict(masked=dict(type='DroppedTokens', ratio=1.0))), r'ratio=1.0 must lie in \[0, 1\)'),
    (tiny.small(), {}, "view 'masked'.*backbone TimmViT of an EncoderDecoder only, not in Patchwork.*type='Masked'"),
    (None, dict(joint_views=[('mixed', 'masked')]), "'masked' passes through the student by itself.* may have mixed"),
    (None, dict(views=dict(VIEW['views'], again=dict(type='Shuffled', of='masked'))), 'again reads it; read target'),
    (None, dict(views=dict(masked=dict(type='DroppedTokens', augment=dict(jiter=0.1)))), "no argument 'jiter'.*jitter"),
])
def test_bad_input_is_refused_when_the_model_is_built(segmentor, changes, match):
    tiny.rejects(match, segmentor=segmentor or vit_segmentor(), **{**VIEW, **changes})


def test_views_with_their_own_augmentation():
    """Source images in grey, the mixed ones untouched: one view's settings are not another's."""
    grey = dict(tiny.NO_AUGMENTATION, grey_probability=1.0)
    model = tiny.method('DACS', tiny.per_pixel(), augment=tiny.NO_AUGMENTATION, views=dict(
        strong=dict(type='Augmented', of='source', augment=grey),
        same=dict(type='Augmented', of='source', augment=False)),
        objectives=dict(source=dict(view='strong'), same=dict(type='SupervisedLoss', view='same')))
    data = model.data_preprocessor(tiny.batch(), True)
    step = tiny.step_of(model, data)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (tiny.MEAN, tiny.STD))
    pixels, source = (image * std + mean for image in (step.views['strong'].image, step.images['source']))
    expected = (source * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(pixels, expected.expand_as(pixels), rtol=1e-3, atol=0.02)
    assert torch.equal(step.views['same'].image, step.images['source'])
    assert torch.equal(step.views['strong'].target.label, step.views['source'].target.label)
    assert torch.equal(step.views['mixed'].image[:, 0], torch.where(
        step.masks['classes'], step.images['source'], step.images['target'])[:, 0])
    losses = model.loss(**data)
    assert losses['source.decode.loss_ce'] != losses['same.decode.loss_ce']
