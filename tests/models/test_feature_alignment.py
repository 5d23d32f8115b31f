"""The alignment of features against the naive MMD."""

import pytest
import torch
from mmengine.structures import PixelData

from tests.ops.test_mmd import naive

from . import tiny
from .dsp_tiny import BATCH, SIZE, VOID, data_of, dsp, losses_of
from .tiny import step_of


@pytest.mark.parametrize('masked', [True, False])
def test_alignment_of_cells(masked):
    """Eqs 8 and 9: features of a pass-through backbone are the images; each has its own mask."""
    model = dsp()
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].float()
    expected = 0.0
    for b in range(BATCH):
        x, y = (step.views[name].image[b].flatten(1).T.double() for name in ('mixed_source', 'mixed_target'))
        keep = mask[b].flatten().bool() if masked else torch.ones(SIZE**2, dtype=torch.bool)
        keep &= torch.arange(SIZE**2) % 8 == 0  # or the loops take long
        x, y = x[keep], y[keep]
        expected += naive(x, y, [1.0] * len(x), [1.0] * len(y), 5, 2.0) / BATCH
    every_eighth = (torch.arange(SIZE**2) % 8 == 0).view(1, 1, SIZE, SIZE)
    step.masks['patch'] = every_eighth & (step.masks['patch'] | (not masked))
    objective = model.objectives['align_patch']
    for name in objective.reads:
        model.run_student(step, [name], needs_logits=False)
    assert objective(step, model.student)['loss_mmd'].item() == pytest.approx(0.005 * expected, rel=1e-3)


def test_alignment_of_images():
    """The released code's samples: one average of each image."""
    model = dsp(objectives=dict(align_patch=dict(samples='images'), align_global=dict(samples='images')))
    data = data_of(model)
    step = step_of(model, data)
    mask = step.masks['patch'][:, 0].double()
    x, y = (step.views[name].image.double() for name in ('mixed_source', 'mixed_target'))
    _, logged = losses_of(model, data)
    ones = [1.0] * BATCH
    assert logged['align_global.loss_mmd'] == pytest.approx(
        0.005 * naive(x.mean((2, 3)), y.mean((2, 3)), ones, ones, 5, 2.0), rel=1e-3)
    inside = [(maps * mask[:, None]).sum((2, 3)) / mask.sum((1, 2))[:, None] for maps in (x, y)]
    assert logged['align_patch.loss_mmd'] == pytest.approx(0.005 * naive(*inside, ones, ones, 5, 2.0), rel=1e-3)


def test_the_mask_of_the_first_image_can_serve_for_all():
    own, shared = (dsp(objectives=dict(align_patch=dict(shared_mask=value))) for value in (False, True))
    data = data_of(own)
    step = step_of(own, data)
    features = torch.zeros(BATCH, 3, SIZE, SIZE)
    assert torch.equal(own.objectives['align_patch']._weight(step, features)[2], step.masks['patch'][2, 0].float())
    assert torch.equal(shared.objectives['align_patch']._weight(step, features)[2], step.masks['patch'][0, 0].float())


def test_few_cells_estimate_many():
    values = {}
    for cells in (64, 256, 1000):
        model = dsp(objectives=dict(align_global=dict(cells=cells)))
        data = data_of(model)
        data['inputs']['target'] += 3.0  # or the bias of a small sample would be most of it
        values[cells] = []
        for iteration in range(4):
            model.set_progress(iteration, 100)
            values[cells].append(losses_of(model, data)[1]['align_global.loss_mmd'])
    assert values[256] == values[1000]  # as many as there are
    assert values[64] != values[256]
    assert values[64] == pytest.approx(values[256], rel=0.2)


@pytest.mark.parametrize('segmentor', [None, tiny.small(crop=(SIZE, SIZE))])
def test_an_empty_patch_aligns_nothing(segmentor):
    model = dsp(segmentor=segmentor)
    data = data_of(model)
    for branch in ('donor', 'rare'):
        for sample in data['data_samples'][branch][1:]:
            sample.gt_sem_seg = PixelData(data=torch.full((1, SIZE, SIZE), VOID))
    total, logged = losses_of(model, data)
    assert logged['align_patch.loss_mmd'] > 0  # of the first image
    for branch in ('donor', 'rare'):
        data['data_samples'][branch][0].gt_sem_seg = PixelData(data=torch.full((1, SIZE, SIZE), VOID))
    total, logged = losses_of(model, data)
    assert logged['align_patch.loss_mmd'] == 0
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.student.parameters())


def test_a_patch_smaller_than_a_cell_aligns_nothing():
    """One pixel that the nearest-pixel reduction by 2 skips."""
    model = dsp(segmentor=tiny.small(crop=(SIZE, SIZE)))
    data = data_of(model)
    for branch, pixel in (('donor', None), ('rare', (5, 7))):
        for sample in data['data_samples'][branch]:
            label = torch.full((1, SIZE, SIZE), VOID)
            if pixel:
                label[0, pixel[0], pixel[1]] = 1
            sample.gt_sem_seg = PixelData(data=label)
    assert step_of(model, data).masks['patch'].sum() == BATCH
    assert losses_of(model, data)[1]['align_patch.loss_mmd'] == 0
