"""What a step of DSP costs and can do without, and what is said where it is configured wrongly."""

import pytest
from mmengine.structures import PixelData

from mmseg_camix.models.building import TableError

from . import tiny
from .dsp_tiny import BATCH, NO_ALIGNMENT, NO_AUGMENTATION, SIZE, batch_of, data_of, losses_of, model_of


def count_passes(module):
    seen = []
    module.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


def test_both_mixed_images_pass_as_one_batch():
    together, apart = model_of(), model_of(joint_views=())
    data = data_of(together)
    sizes = [count_passes(model.student.backbone) for model in (together, apart)]
    one, other = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert sizes == [[BATCH, 2 * BATCH], [BATCH] * 3]
    assert one == pytest.approx(other, rel=1e-5)  # nothing in this network looks at the batch


def test_what_passes_together_shares_batch_statistics():
    together, apart = (tiny.method('DSP', tiny.small(crop=(SIZE, SIZE)), augment=NO_AUGMENTATION, **kwargs)
                       for kwargs in (dict(), dict(joint_views=())))
    data = data_of(together)
    for model in (together, apart):
        model.student.backbone.dropout.p = model.student.decode_head.dropout.p = 0.0
    one, other = losses_of(together, data)[1], losses_of(apart, data)[1]
    assert one['source.decode.loss_ce'] == pytest.approx(other['source.decode.loss_ce'], rel=1e-5)
    assert one['mixed_source.loss_ce'] != pytest.approx(other['mixed_source.loss_ce'], rel=1e-4)


@pytest.mark.parametrize('name', tiny.segmentors())
def test_any_segmentor(name):
    model = tiny.method('DSP', tiny.segmentors()[name])
    data = batch_of(size=32)
    for branch in data.values():
        for one in branch['data_samples']:
            if 'gt_sem_seg' in one:
                one.gt_edge_map = PixelData(data=(one.gt_sem_seg.data == 1).long())
    total, _ = tiny.losses_of(model, data)
    total.backward()
    assert all(p.grad is not None for p in model.student.parameters())
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('removed', ['source', 'mixed_source', 'mixed_target', 'align_patch', 'align_global'])
def test_each_loss_can_be_switched_off(removed):
    model, whole = model_of(objectives={removed: None}), model_of()
    data = data_of(model)
    (total, logged), (every, reference) = losses_of(model, data), losses_of(whole, data)
    gone = set(reference) - set(logged)
    assert gone
    assert all(name.startswith(f'{removed}.') for name in gone)
    difference = sum(value for name, value in reference.items() if name in gone and 'loss' in name)
    assert every.item() - total.item() == pytest.approx(difference, abs=1e-5)


def test_single_paste():
    """Without the paste on the source there is no second view, nor anything to align it with."""
    model = model_of(1.0, views=dict(mixed_source=None, mixed_target=dict(opacity=1.0)),
                     objectives=dict(mixed_source=None, **NO_ALIGNMENT))
    sizes = count_passes(model.student.backbone)
    _, logged = losses_of(model, data_of(model))
    assert sizes == [BATCH, BATCH]
    assert 'mixed_target.loss_ce' in logged


# ------------------------------------------------------------------ errors


def test_missing_branches_are_named():
    model = model_of()
    with pytest.raises(ValueError, match='DSP needs images of donor, rare, but the data set gives only source, target'):
        tiny.losses_of(model, tiny.batch(SIZE, BATCH))


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(objectives=dict(align_patch=dict(mask='pach'))), r"'align_patch' reads mask 'pach'.*patch, rare"),
    (dict(objectives=dict(align_patch=dict(other='mixd'))), r"'align_patch' reads view 'mixd'.*mixed_source"),
    (dict(objectives=dict(align_patch=dict(samples='pixels'))), "samples='pixels' must be one of cells, images"),
    (dict(objectives=dict(align_patch=dict(cells=0))), 'cells=0 and kernels=5 must be at least 1'),
    (dict(objectives=dict(align_patch=dict(features=3))), r'align_patch.*features=3: the backbone .* gives 1 maps'),
    (dict(masks=dict(patch=dict(rare='rar'))), r"mask 'patch' reads branch 'rar'.*donor, rare, source, target"),
    (dict(joint_views=[('mixed_source', 'mixd')]), r"joint_views' reads view 'mixd'"),
    (dict(joint_views=[('mixed_source', 'source'), ('source', 'target')]), 'joint_views has a view twice'),
])
def test_wrong_tables(arguments, message):
    with pytest.raises(TableError, match=message):
        tiny.method('DSP', tiny.per_pixel(), **arguments)
