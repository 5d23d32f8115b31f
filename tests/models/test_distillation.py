"""Distillation of a frozen encoder's features."""

import pytest
import torch
from torch.nn import functional as F

from mmseg_camix.ops.feature_distance import distillation_distance

from . import tiny
from .test_dropped_tokens import vit_segmentor

FROZEN = dict(type='TimmViT', name='vit_tiny_patch16_224', pyramid=False,
              arguments=dict(depth=1, embed_dim=12, num_heads=2, img_size=32))
QUIET_VIEWS = dict(
    source_weak=dict(type='Augmented', of='source', augment=dict(jitter=0.5)),
    target_weak=dict(type='Augmented', of='target', augment=dict(jitter=0.5)))
ENTRY = dict(type='FeatureDistillation', view='source_weak', other='target_weak', encoder=FROZEN, size=48)


def method(kind='DACS', views=QUIET_VIEWS, segmentor=None, **entry):
    return tiny.method(kind, segmentor or vit_segmentor(), views=views,
                       objectives=dict(distillation=dict(ENTRY, **entry)))


def test_distance_against_loops():
    torch.manual_seed(0)
    first, second = torch.randn(2, 2, 5, 3, 4) * 2
    distance = distillation_distance(first, second)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4)).tolist():
        u, v = first[b, :, y, x].tolist(), second[b, :, y, x].tolist()
        absolute = sum(0.5 * (p - q) ** 2 if abs(p - q) < 1 else abs(p - q) - 0.5 for p, q in zip(u, v)) / 5
        product, lengths = sum(p * q for p, q in zip(u, v)), [sum(p * p for p in w) ** 0.5 for w in (u, v)]
        cosine = product / (lengths[0] * lengths[1])
        assert float(distance[b, y, x]) == pytest.approx(0.1 * absolute + 0.9 * (1 - cosine), abs=1e-5)
    assert distillation_distance(first, first).abs().max() < 1e-6
    torch.testing.assert_close(distillation_distance(first.half(), second.half()),
                               distillation_distance(first.half().float(), second.half().float()))


def test_the_losses_by_hand():
    """Frozen features of the images before their augmentation, at 48 x 48: 3 x 3 cells; both domains, same head."""
    model = method()
    data = model.data_preprocessor(tiny.batch(64), True)
    objective = model.objectives['distillation']
    losses, step = model.loss(**data), tiny.step_of(model, data)
    for view, branch in (('source_weak', 'source'), ('target_weak', 'target')):
        image = step.images[branch]
        assert not torch.equal(step.views[view].image, image)
        with torch.no_grad():
            frozen, = objective._encoder[0](F.interpolate(image, (48, 48), mode='bilinear'))
            features = objective.head(model.student.backbone(step.views[view].image)[-1])
            features = F.interpolate(features, (3, 3), mode='bilinear')
        expected = 0.1 * distillation_distance(features, frozen).mean()
        torch.testing.assert_close(losses[f'distillation.loss_{view}'].detach(), expected)


def test_what_learns_and_what_is_saved():
    model = method()
    objective = model.objectives['distillation']
    total, _ = tiny.losses_of(model, tiny.batch(64))
    total.backward()
    assert all(p.grad is not None for p in [*model.student.backbone.network.parameters(), *objective.head.parameters()])
    assert all(p.grad is None for p in objective._encoder[0].parameters())
    assert not objective._encoder[0].training
    names = [name for name in model.state_dict() if name.startswith('objectives.')]
    assert len(names) == len(objective.head.state_dict())
    assert all(name.startswith('objectives.distillation.head.') for name in names)


def test_a_head_can_learn_the_frozen_features():
    model = method(other=None, view='source')
    optimiser = torch.optim.Adam(model.objectives.parameters(), lr=0.01)
    values = []
    for _ in range(20):
        loss = model.loss(**model.data_preprocessor(tiny.batch(64), True))['distillation.loss_source']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]


def test_the_backbone_itself_is_the_frozen_one_by_default():
    model = method(encoder=None, size=None)
    _, logged = tiny.losses_of(model, tiny.batch(64))
    assert logged['distillation.loss_target_weak'] > 0


@pytest.mark.parametrize(('changes', 'match'), [
    (dict(view='mixed'), "objective 'distillation'.*'mixed' is no augmentation of one image.*source_weak, target_weak"),
    (dict(other='nothing'), "reads view 'nothing'"),
    (dict(size=0), 'size=0 must be at least 1'),
    (dict(index=5), 'features=5: the backbone'),
    (dict(encoder=dict(type='TimmViT', name='no_such_net')), 'timm has no network'),
])
def test_bad_input_is_refused_when_the_model_is_built(changes, match):
    with pytest.raises((ValueError, TypeError), match=match):
        method(**changes)


def test_necks_are_refused():
    with pytest.raises(ValueError, match='has a neck'):
        method(segmentor=tiny.segmentors()['a neck'])
