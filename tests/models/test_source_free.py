"""Adaptation without source: quotas of classes, the anchor, and what a step reads."""

import copy

import pytest
import torch
from mmengine.runner import Runner

from mmseg_camix.models.pseudo_labels import ClassQuota
from tests.engine.fragile import same
from tests.models import tiny
from tests.world import config


def target(count=2):
    return dict(target=tiny.batch(count=count)['target'])


def test_a_step_reads_the_target_only():
    model = tiny.method('SourceFree')
    total, logged = tiny.losses_of(model, target())
    assert set(logged) >= {'mixed.loss_ce', 'masked.loss_ce', 'pseudo/kept'}
    total.backward()
    assert all(p.grad is not None for p in model.student.decode_head.parameters())
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith('student.'))
    assert model.needs_checkpoint
    assert not tiny.method('DACS').needs_checkpoint


def test_a_quota_keeps_the_most_confident_share_of_each_class():
    """Also of a class of which the network is less sure; thresholds follow the running histogram."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(3, (2, 60, 60), generator=generator)
    confidence = torch.rand(label.shape, generator=generator) * torch.tensor([0.2, 0.5, 1.0])[label]
    label[:, 50:] = 255
    quota = ClassQuota(share=0.3, momentum=0.5, bins=1000)
    quota.set_num_classes(5)
    kept = quota(confidence, label)
    for index in range(3):
        chosen, left = confidence[(label == index) & kept], confidence[(label == index) & ~kept]
        assert chosen.numel() / (chosen.numel() + left.numel()) == pytest.approx(0.3, abs=0.02)
        assert chosen.min() >= left.max()
    less_sure = quota(confidence / 2, label)  # thresholds are those of both batches
    assert 0 < less_sure.float().mean() < kept.float().mean()
    assert quota(confidence, label).float().mean() > kept.float().mean()


def test_pixels_beyond_the_quota_have_no_weight():
    model = tiny.method('SourceFree', tiny.per_pixel(), pseudo_labels=dict(quota=dict(share=0.4)))
    with torch.no_grad():
        model.teacher.model.decode_head.conv_seg.weight.normal_()
    data = model.data_preprocessor(target(), True)
    step = tiny.step_of(model, data)
    weight = step.views['target'].target.weight
    assert set(weight.unique().tolist()) == {0.0, 1.0}
    assert 0.35 < weight.mean() < 0.6
    assert step.statistics['pseudo/kept'] == weight.mean()


@pytest.mark.parametrize(('quota', 'message'), [(dict(share=0.0), r'share=0.0 must lie in \(0, 1\]'),
                                                (dict(shar=0.5), "quota .ClassQuota. has no argument 'shar'")])
def test_quotas_that_are_refused(quota, message):
    tiny.rejects(message, kind='SourceFree', pseudo_labels=dict(quota=quota))


def test_the_divergence_from_the_initial_network():
    """Against its definition; the initial network stays, also where the student has moved."""
    anchor = dict(type='InitialDivergence', view='plain', weight=0.3)
    model = tiny.method('SourceFree', tiny.per_pixel(), objectives=dict(anchor=anchor),
                        views=dict(plain=dict(type='Augmented', augment=False)))
    start = copy.deepcopy(model.student.state_dict())
    data = model.data_preprocessor(target(), True)
    assert model(**data, mode='loss')['anchor.loss_kl'].item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.student.decode_head.conv_seg.weight.normal_()
    images = data['inputs']['target']
    old = torch.nn.functional.conv2d(images, start['decode_head.conv_seg.weight'], start['decode_head.conv_seg.bias'])
    old, new = old.softmax(1), model.student.decode_head.conv_seg(images).softmax(1)
    expected = 0.3 * (old * (old.log() - new.log())).sum(1).mean()
    torch.testing.assert_close(model(**data, mode='loss')['anchor.loss_kl'], expected)
    model.prepare({})
    torch.testing.assert_close(model(**data, mode='loss')['anchor.loss_kl'], expected)
    assert same(start, model.objectives['anchor'].initial.model.state_dict())
    tiny.rejects("'mixed' is no augmentation of one image; give a branch of the data set or a view of type Augmented",
                 kind='SourceFree', objectives=dict(anchor=dict(anchor, view='mixed')))


def test_the_anchor_of_a_training_is_where_it_began(world, tmp_path):
    """Resuming keeps the initial network; a new training from the same checkpoint begins with its student."""
    def train(name, iterations, **how):
        cfg = config(world, tmp_path / name, max_iters=iterations, **how)
        cfg.model.objectives = dict(anchor=dict(type='InitialDivergence', view='target'))
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner.model

    first = train('first', 1)
    saved = str(tmp_path / 'first/iter_1.pth')
    initial = first.objectives['anchor'].initial.model.state_dict()
    resumed = train('resumed', 2, load_from=saved, resume=True).objectives['anchor'].initial.model
    restarted = train('restarted', 1, load_from=saved).objectives['anchor'].initial.model
    weight = 'decode_head.conv_seg.weight'
    assert torch.equal(resumed.state_dict()[weight], initial[weight])
    assert torch.equal(restarted.state_dict()[weight], first.student.state_dict()[weight])
    assert not torch.equal(initial[weight], first.student.state_dict()[weight])


def test_a_training_needs_a_trained_network(world, tmp_path):
    cfg = config(world, tmp_path, 'SourceFree', max_iters=1)
    cfg.train_dataloader.dataset.source = None
    with pytest.raises(ValueError, match="SourceFree learns from its own predictions only.* load_from='CHECKPOINT'"):
        Runner.from_cfg(cfg).train()
    cfg.model.type, cfg.experiment_name = 'DACS', 'other'
    with pytest.raises(ValueError, match='DACS needs images of source, but the data set gives only target'):
        Runner.from_cfg(cfg).train()
