"""DAFormer: its parts in a step, and the frozen encoder."""

import pytest
import torch

from mmseg_camix.datasets import CLASSES
from mmseg_camix.models.feature_losses import FeatureDistance
from mmseg_camix.models.uda.methods import CAMix, DAFormer, iDAFormer

from . import tiny

# Of the five classes that `tiny.method` names, two are things here: 2 and 3.
THINGS = dict(objectives=dict(features=dict(things=('building', 'wall'))),
              pseudo_labels=dict(ignore_top=2, ignore_bottom=5))


def method(kind='DAFormer', **arguments):
    return tiny.method(kind, tiny.small(), **dict(THINGS, **arguments))


def test_defaults_are_those_of_the_paper():
    model = tiny.method('DAFormer', tiny.small(), objectives=dict(features=dict(things=None)))
    assert model.teacher.alpha == 0.999
    assert model.teacher.norm == 'batch'
    assert model.masks['classes'].pool == 'batch'
    assert (model.pseudo_labels.ignore_top, model.pseudo_labels.ignore_bottom) == (15, 120)
    assert model.pseudo_labels.threshold == 0.968
    assert DAFormer.defaults['augment']['jitter'] == 0.2
    assert model.objectives['features'].weight(0, 1) == 0.005
    cityscapes = [name in FeatureDistance().things for name in CLASSES]
    assert [c for c, thing in enumerate(cityscapes) if thing] == [6, 7, *range(11, 19)]
    assert FeatureDistance().min_share == 0.75
    mirrored = iDAFormer.defaults
    assert (mirrored['views']['mixed']['donor'], mirrored['views']['mixed']['over']) == ('target', 'source')
    assert mirrored['masks']['classes']['of'] == 'target'


def distance_by_hand(model, image, label):
    """Mean distance over cells of 2x2 pixels (the stride of `Patchwork`) with enough of a thing."""
    objective = model.objectives['features']
    with torch.no_grad():
        student = model.student.backbone(image)[0]
        frozen = objective._encoder[0](image)[0]
    total, count = 0.0, 0
    for b, y, x in ((b, y, x) for b in range(2) for y in range(16) for x in range(16)):
        cell = label[b, 2 * y:2 * y + 2, 2 * x:2 * x + 2].flatten()
        for thing in (2, 3):
            if int((cell == thing).sum()) >= 3:
                total += float((student[b, :, y, x] - frozen[b, :, y, x]).norm())
                count += 1
    return 0.005 * total / count


def test_feature_distance_in_a_step():
    model = method()
    model.student.backbone.dropout.p = 0.0
    with torch.no_grad():
        model.student.backbone.conv.weight.add_(0.1)
    data = tiny.batch()
    clean = model.data_preprocessor(data, True)
    model.student.backbone.norm.momentum = 0.0
    expected = distance_by_hand(model, clean['inputs']['source'], tiny.labels())
    _, logged = tiny.losses_of(model, data)
    assert expected > 0
    assert float(logged['features.loss_distance']) == pytest.approx(expected, rel=1e-4)


def test_the_encoder_is_no_part_of_the_model():
    model, without = method(), method(objectives=dict(features=None))
    assert model.state_dict().keys() == without.state_dict().keys()
    assert len(list(model.parameters())) == len(list(without.parameters()))
    encoder = model.objectives['features']._encoder[0]
    before = [p.clone() for p in encoder.parameters()]
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    total, _ = tiny.losses_of(model, tiny.batch())
    total.backward()
    optimiser.step()
    assert all(torch.equal(p, q) for p, q in zip(encoder.parameters(), before))
    assert all(p.grad is None for p in encoder.parameters())
    assert not encoder.training


def test_the_encoder_has_the_weights_that_the_student_starts_from(tmp_path):
    first = method()
    torch.save({f'backbone.{k}': v + 1 for k, v in first.student.backbone.state_dict().items()}, tmp_path / 'w.pth')
    model = tiny.build(dict(type='DAFormer', segmentor=tiny.small(), **THINGS))
    init = [dict(type='Normal', layer='Conv2d'),  # which draws
            dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'), prefix='backbone.')]
    for backbone in (model.student.backbone, model.objectives['features']._encoder[0]):
        backbone.init_cfg = init
    model.init_weights()
    drawn = torch.get_rng_state()
    with torch.no_grad():
        model.student.backbone.conv.weight.zero_()  # as after some training
    model.prepare(dict(classes=CLASSES[:5]))
    assert torch.equal(torch.get_rng_state(), drawn)
    encoder = model.objectives['features']._encoder[0]
    torch.testing.assert_close(encoder.conv.weight, first.student.backbone.conv.weight + 1)


def test_any_method_takes_the_parts():
    model = tiny.method('CAMix', tiny.small(), objectives=dict(
        features=dict(type='FeatureDistance', things=('building',))), pseudo_labels=dict(ignore_top=2, ignore_bottom=5))
    assert isinstance(model, CAMix)
    _, logged = tiny.losses_of(model, tiny.batch())
    assert float(logged['features.loss_distance']) > 0


def test_unsupported_settings_are_rejected():
    with pytest.raises(ValueError, match=r'none of the things.*dict\(objectives=dict\(features=dict\(things=\['):
        method(objectives=dict(features=dict(things=('tram',))))
    fpn = tiny.segmentors()['a neck']
    with pytest.raises(ValueError, match='has a neck'):
        tiny.method('DAFormer', fpn)
    vgg = tiny.encoder_decoder(dict(type='DeepLabVGG16', fc_channels=4), dict(
        type='DeepLabV2Head', in_channels=4, num_classes=5, dilations=(1,)))
    with pytest.raises(ValueError, match='map -1 of DeepLabVGG16 comes from layers that start at random'):
        tiny.method('DAFormer', vgg)
    model = method()
    model.objectives['features'].classes = None
    with pytest.raises(RuntimeError, match='model.prepare'):
        tiny.losses_of(model, tiny.batch())


def test_a_vit_is_compared_where_its_pyramid_adds_nothing():
    vit = dict(type='TimmViT', name='vit_tiny_patch16_224', arguments=dict(depth=1, embed_dim=8, num_heads=1))
    head = dict(type='DAFormerHead', in_channels=[8] * 4, embed_dims=4, channels=4, num_classes=5)
    features = dict(things=('building', 'wall'), index=1)
    with pytest.raises(ValueError, match='map 1 of TimmViT'):
        tiny.method('DAFormer', tiny.encoder_decoder(vit, head), objectives=dict(features=features))
    model = tiny.method('DAFormer', tiny.encoder_decoder(vit, head), objectives=dict(features=dict(features, index=-1)))
    encoder, student = model.objectives['features']._encoder[0], model.student.backbone.eval()
    encoder.network.load_state_dict(student.network.state_dict())  # the same pretrained network, ...
    torch.nn.init.normal_(encoder.pyramid.scales[1].weight)  # ... and another pyramid
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        first, second = student(image), encoder(image)
    assert torch.equal(first[-1], second[-1])
    assert torch.equal(first[2], second[2])
    assert not torch.equal(first[1], second[1])
