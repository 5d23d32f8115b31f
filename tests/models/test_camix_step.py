"""Where CAMix's loss differs from cross-entropy, its warm-up, and what a step costs."""

import pytest
import torch

from mmseg_camix.models.adapter import Output
from mmseg_camix.models.step import StudentPass
from tests.sync_counter import SyncCounter

from .camix_tiny import BATCH, CLASSES, SIZE, camix, data_of, save_prior
from .tiny import step_of

VOID = 255


@pytest.fixture
def prior(tmp_path):
    return save_prior(tmp_path / 'prior.npz')


# ------------------------------------------------------------------ significance in the loss


def gradient(model, step, objective):
    """Of an objective on the mixed view by the student's logits, (B, C, H, W)."""
    logits = torch.randn(BATCH, CLASSES, SIZE, SIZE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    step.passes['mixed'] = StudentPass(None, (Output(logits),))
    (loss,) = model.objectives[objective](step, model.student).values()
    return loss.item(), torch.autograd.grad(loss, logits)[0]


def test_src_differs_from_ce_exactly_where_the_mask_says_so():
    """The released code's loss is a mean before the mask gets to it, and has CE's gradient everywhere."""
    model = camix(70, objectives=dict(ce=dict(type='PixelCrossEntropy', view='mixed')))
    step = step_of(model, data_of(model))
    significance = step.views['mixed'].target.significance
    assert 0.1 < significance.mean() < 0.95
    value, found = gradient(model, step, 'mixed')
    plain, everywhere = gradient(model, step, 'ce')
    dropped = (significance == 0) & (step.views['mixed'].target.label != VOID)
    assert everywhere.abs().sum(1)[dropped].min() > 0
    assert found.abs().sum(1)[dropped].max() == 0
    kept = everywhere * significance[:, None] * significance.numel() / significance.sum()
    torch.testing.assert_close(found, kept)
    released = (plain * significance).sum() / significance.sum()
    assert released.item() == pytest.approx(plain, rel=1e-5)
    assert value != pytest.approx(plain, rel=1e-2)


def test_src_is_ce_where_all_is_significant():
    model = camix(objectives=dict(ce=dict(type='PixelCrossEntropy', view='mixed')), significance=dict(beta=9.0))
    step = step_of(model, data_of(model))
    assert bool((step.views['mixed'].target.significance == 1).all())
    (value, found), (plain, expected) = gradient(model, step, 'mixed'), gradient(model, step, 'ce')
    assert value == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(found, expected)


def test_no_significant_pixel():
    """A threshold of zero and a mask that covers all: the loss is 0 and so is its gradient."""
    nothing = dict(beta=0.0, gamma=-1000.0)
    model = camix(0, dict(ratio=1.0), nothing, objectives=dict(source=None))
    data = data_of(model)
    assert step_of(model, data).views['mixed'].target.significance.sum() == 0
    total, logged = model.parse_losses(model(**data, mode='loss'))
    assert logged['mixed.loss_src'].item() == total.item() == 0
    assert logged['significance/kept'] == 0
    total.backward()
    assert all(bool((p.grad == 0).all()) for p in model.student.parameters())


# ------------------------------------------------------------------ images smaller than the crop


@pytest.mark.parametrize('at', [0, 90])  # CAMix; its warm-up, where the padding stays in view
def test_what_was_padded_plays_no_part(at):
    """Neither its classes nor its entropy, whatever the teacher makes of it."""
    found = []
    for value in (-9.0, 9.0):
        model = camix(70, significance=dict(passes=2, form='official', gamma=0.0), views=dict(mixed=dict(at=at)))
        data = data_of(model)
        for sample in data['data_samples']['target']:
            sample.set_metainfo(dict(img_shape=(10, 12)))
        target = data['inputs']['target']
        target.mul_(0.2).add_(1)  # one class, of a teacher that is rather sure
        target[:, :, 10:], target[:, :, :, 12:] = value, value
        step = step_of(model, data)
        mixed, statistics = step.views['mixed'].target, step.statistics
        found.append([*step.masks.values(), mixed.label, mixed.weight, mixed.significance,
                      *(statistics[f'significance/{name}'] for name in ('threshold', 'kept')), statistics['pseudo/q']])
        assert step.teacher_logits[:, :, 10:].argmax(1).unique() == (0 if value < 0 else 4)
    for one, other in zip(*found):
        assert torch.equal(one, other)


# ------------------------------------------------------------------ warm-up, cost


def test_warm_up_by_classmix():
    """Source onto target before the iteration, without looking at the context; target onto source from it on."""
    model = camix(9, views=dict(mixed=dict(at=10)))
    data = data_of(model)
    before = step_of(model, data)
    assert set(before.masks) == {'classes'}
    assert 'camix' not in before.views
    dacs = camix(9, kind='DACS')
    assert torch.equal(before.views['mixed'].image, step_of(dacs, data).views['mixed'].image)
    model.set_progress(10, 100)
    after = step_of(model, data)
    assert set(after.masks) == {'context'}
    assert torch.equal(after.views['mixed'].image, step_of(camix(10), data).views['mixed'].image)


def test_it_predicts_with_the_teacher():
    assert camix().predict_with == 'teacher'
    assert camix(predict_with='student').predict_with == 'student'


def test_nothing_of_ours_waits_for_the_device(prior, monkeypatch):
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.accuracy', lambda *args, **kwargs: torch.zeros(1))
    model = camix(context=dict(prior=prior), significance=dict(passes=4, copies_at_once=2, scale=0.5))
    data = data_of(model)
    model.update_teacher()
    with SyncCounter() as counter:
        losses = model.loss(data['inputs'], data['data_samples'])
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        model.update_teacher()
    assert not counter.names
