"""HRDA: what the segmentor computes, in a method and by itself, and what it refuses."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from mmseg_camix.models import adapter
from mmseg_camix.models.adapter import UnsupportedSegmentorError
from mmseg_camix.models.building import TableError
from mmseg_camix.ops.boxes import Box
from tests.ops.test_scale_fusion import fused_by_hand
from tests.sync_counter import no_sync

from . import dsp_tiny, tiny

CROP, DETAIL = 32, 16
MIC = dict(masks=dict(blocks=dict(block=4)))
QUIET = dict(pseudo_labels=dict(threshold=0.0), augment=tiny.NO_AUGMENTATION)


def hrda(**changes):
    """On a backbone at stride 2 without anything random: logits at stride 2, corners at multiples of 4."""
    return dict(tiny.encoder_decoder(dict(type='Patchwork', norm='GN', dropout=0.0), tiny.fcn(4, 4, dropout_ratio=0),
                                     (CROP, CROP), type='HRDAEncoderDecoder'), **changes)


def network(**changes):
    """In evaluation mode, with random weights."""
    return tiny.randomised(tiny.build(hrda(**changes)))


def plain(net, **changes):
    """mmseg's segmentor of one scale with the weights of an HRDA network."""
    single = tiny.build(hrda(type='EncoderDecoder', **changes)).eval()
    single.load_state_dict({name.replace('decode_head.head.', 'decode_head.'): value
                            for name, value in net.state_dict().items() if 'scale_attention' not in name})
    return single


def images(*size, count=2):
    return torch.randn(count, 3, *(size or (CROP, CROP)), generator=torch.Generator().manual_seed(1))


def halved(image):
    """Bilinear at half the size: the mean of each 2 x 2 pixels, one by one."""
    result = torch.empty(*image.shape[:2], image.shape[2] // 2, image.shape[3] // 2)
    for y, x in itertools.product(*map(range, result.shape[2:])):
        result[..., y, x] = image[..., 2 * y:2 * y + 2, 2 * x:2 * x + 2].mean((2, 3))
    return result


def reference(net, image, box=None):
    """The fused logits, by the steps of the released code: of one drawn box, or of windows over the whole image."""
    backbone, head, attention = net.backbone, net.decode_head.head, net.decode_head.scale_attention
    context = backbone(halved(image))
    height, width = image.shape[2] // 2, image.shape[3] // 2  # logits at stride 2
    if box is not None:
        detail = head(backbone(box.crop(image)))
    else:
        total, count = torch.zeros(len(image), tiny.CLASSES, height, width), torch.zeros(height, width)
        for top, left in itertools.product(*(sorted({min(start, side - DETAIL) for start in range(
                0, side - DETAIL + DETAIL // 2, DETAIL // 2)}) for side in image.shape[2:])):
            window = Box(top, left, top + DETAIL, left + DETAIL)
            window.in_cells(2).crop(total)[:] += head(backbone(window.crop(image)))
            window.in_cells(2).crop(count)[:] += 1
        detail, box = total / count, Box(0, 0, *image.shape[2:])
    return fused_by_hand(head(context), detail, attention(context).sigmoid(), box.in_cells(2))


@torch.no_grad()
@pytest.mark.parametrize('size', [(CROP, CROP), (24, 36), (16, 16)])
def test_prediction_is_that_of_the_released_code(size):
    net = network()
    assert net.stride == 2
    torch.testing.assert_close(net(images(*size), mode='tensor'), reference(net, images(*size)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('seed', range(3))
def test_training_pass_is_that_of_the_released_code(seed):
    net, image = network(), images()
    features = net.extract_feat(image, torch.Generator().manual_seed(seed))
    fused, detail = net.outputs(features)
    assert (fused.weight, fused.box, detail.weight) == (0.9, None, 0.1)
    assert not any(corner % 4 for corner in detail.box)
    torch.testing.assert_close(fused.logits, reference(net, image, detail.box), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(detail.logits, net.decode_head.head(net.backbone(detail.box.crop(image))))


@torch.no_grad()
@pytest.mark.parametrize('generator', [None, torch.Generator()])
def test_fixed_attention_is_the_plain_network(generator):
    """0: the network of the reduced image, whatever the detail; 1 with a detail as large as the view: of the image."""
    net, image = network(scale_attention=0), images()
    at_half = plain(net)(halved(image), mode='tensor')
    torch.testing.assert_close(adapter.decode(net, net.extract_feat(image, generator)), F.interpolate(
        at_half, scale_factor=2, mode='bilinear', align_corners=False), atol=1e-5, rtol=1e-5)
    net = network(scale_attention=1.0, detail_size=CROP)
    torch.testing.assert_close(adapter.decode(net, net.extract_feat(image, generator)),
                               plain(net)(image, mode='tensor'), atol=1e-5, rtol=1e-5)


def test_loss_by_itself():
    """0.9 of the fused and 0.1 of the detail on its box of the labels; the given generator draws the box."""
    net, image, label = tiny.build(hrda()), images(), tiny.labels()
    losses = net.loss(image, adapter.samples_of(label), torch.Generator().manual_seed(4))
    fused, detail = net.outputs(net.extract_feat(image, torch.Generator().manual_seed(4)))

    def entropy(logits, label):
        up = F.interpolate(logits, size=label.shape[1:], mode='bilinear', align_corners=False).log_softmax(1)
        terms = [-up[b, label[b, y, x], y, x] for b, y, x in (label != 255).nonzero().tolist()]
        return sum(terms) / label.numel()

    torch.testing.assert_close(losses['decode.loss_ce'], 0.9 * entropy(fused.logits, label))
    torch.testing.assert_close(losses['decode1.loss_ce'], 0.1 * entropy(detail.logits, detail.box.crop(label)))
    net(image, adapter.samples_of(label), mode='loss')  # draws from torch's default generator


@pytest.mark.parametrize('size', [(CROP, CROP), (30, 41)])
def test_predict_gives_the_size_of_the_image(size):
    """Sides that are no multiples of 4 are padded at the bottom and on the right."""
    net, image = network(), images(*size, count=1)
    logits = net.predict(image)[0].seg_logits.data[None]
    assert logits.shape[2:] == image.shape[2:]
    padded = F.pad(image, (0, -size[1] % 4, 0, -size[0] % 4))
    expected = F.interpolate(net(padded, mode='tensor'), scale_factor=2, mode='bilinear', align_corners=False)
    torch.testing.assert_close(logits, expected[..., :size[0], :size[1]])
    net.test_cfg.update(mode='slide', crop_size=(24, 24), stride=(12, 12))
    assert net.predict(image)[0].seg_logits.data.shape[1:] == image.shape[2:]


def test_names_of_weights_are_those_of_the_released_code():
    net = tiny.build(hrda(scale_attention=dict(channels=6)))
    names = {name for name in net.state_dict() if not name.startswith('backbone.')}
    single = set(plain(net).decode_head.state_dict())
    assert names == {f'decode_head.{part}.{name}' for part in ('head', 'scale_attention') for name in single}
    assert net.decode_head.scale_attention.conv_seg.in_channels == 6
    assert tiny.build(hrda(scale_attention=dict(num_classes=1))).decode_head.scale_attention.num_classes == 1


def places(model, iteration=0, seed=0, **arguments):
    """View -> place of the detail."""
    model.set_progress(iteration, 100, seed)
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(**arguments), True))
    for names, needs_logits in model.planned_passes(step):
        model.run_student(step, names, needs_logits)
    return {name: single.features.boxes[0] for name, single in step.passes.items()}


def test_places_follow_from_the_step():
    model = tiny.method('MIC', hrda(), **MIC, **QUIET)
    repeated = tiny.method('MIC', hrda(), **MIC, **QUIET)
    drawn = [places(model, iteration) for iteration in range(6)]
    assert [places(repeated, iteration) for iteration in range(6)] == drawn
    assert places(model, 3) == drawn[3]
    assert [places(model, iteration, seed=1) for iteration in range(6)] != drawn
    assert len({tuple(step.values()) for step in drawn}) > 1
    assert any(len(set(step.values())) > 1 for step in drawn), 'each view has its own place'
    assert not any(corner % 4 for step in drawn for box in step.values() for corner in box)


def test_a_step_does_not_wait_for_the_device(no_accuracy):
    """The place is drawn on the host."""
    model = tiny.method('MIC', hrda(), **MIC, **QUIET)
    data = model.data_preprocessor(tiny.batch(), True)
    model.loss(**data)  # creates generators
    with no_sync():
        model.loss(**data)


METHODS = dict(
    DACS={}, MIC=MIC, CAMix={}, RCCR={},
    DAFormer=dict(objectives=dict(features=dict(things=None)), pseudo_labels=dict(ignore_top=2, ignore_bottom=2)),
    DSP=dict(joint_views=()), MeanTeacher={}, SourceOnly={})


@pytest.mark.parametrize('kind', METHODS)
def test_methods_train_every_parameter(kind):
    model = tiny.method(kind, hrda(), **METHODS[kind])
    data = dsp_tiny.batch_of(0, CROP, 2) if kind == 'DSP' else tiny.batch()
    total, logged = tiny.losses_of(model, data)
    total.backward()
    assert torch.isfinite(total)
    assert 'source.decode1.loss_ce' in logged
    assert not [name for name, p in model.student.named_parameters() if p.grad is None]


def test_teacher_covers_the_image_and_the_noisy_passes_too():
    model = tiny.method('CAMix', hrda(), pseudo_labels=dict(
        significance=dict(passes=2, copies_at_once=2)))
    tiny.randomised(model.teacher)
    passed = tiny.inputs_of(model.teacher.model.backbone)
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    assert [len(images) for images in passed] == [2, 9 * 2, 4, 9 * 4], 'the context, then nine windows as one batch'
    assert {tuple(images.shape[2:]) for images in passed} == {(DETAIL, DETAIL)}
    with torch.no_grad():
        torch.testing.assert_close(step.teacher_logits, reference(model.teacher.model, step.images['target']),
                                   atol=1e-4, rtol=1e-4)


def test_soft_and_significant_losses_on_both_outputs():
    """Two targets of a soft paste, and the significance of a mixed view, each cropped with the detail."""
    model = tiny.method('DSP', hrda(), joint_views=(), objectives=dict(align_patch=None, align_global=None))
    step = tiny.step_of(model, model.data_preprocessor(dsp_tiny.batch_of(0, CROP, 2), True))
    model.run_student(step, ['mixed_target'])
    view, (fused, detail) = step.views['mixed_target'], step.passes['mixed_target'].outputs

    def entropy(output, crop):
        up = F.interpolate(output.logits, scale_factor=2, mode='bilinear', align_corners=False)
        return sum((F.cross_entropy(up, crop(target.label), ignore_index=255, reduction='none')
                    * crop(target.weight)).mean() for target in view.targets)

    expected = 0.9 * entropy(fused, lambda value: value) + 0.1 * entropy(detail, detail.box.crop)
    assert len(view.targets) > 1
    torch.testing.assert_close(model.objectives['mixed_target'](step, model.student)['loss_ce'], expected)


def test_feature_losses_read_the_context():
    """The frozen encoder gets the reduced image too, and the label is reduced to the cells of its map."""
    model = tiny.method('DAFormer', hrda(), objectives=dict(features=dict(things=None, min_share=0.3)),
                        pseudo_labels=dict(ignore_top=1, ignore_bottom=1))
    tiny.randomised(model.student)
    step = tiny.step_of(model, model.data_preprocessor(tiny.batch(), True))
    model.run_student(step, ['source'])
    frozen = model.objectives['features']._encoder[0]
    small, label = halved(step.images['source']), step.views['source'].target.label
    distance = (model.student.backbone(small)[0] - frozen(small)[0]).square().sum(1).sqrt()
    terms = []
    for image, y, x in itertools.product(*map(range, distance.shape)):
        values, counts = label[image, 4 * y:4 * y + 4, 4 * x:4 * x + 4].unique(return_counts=True)
        if values[counts.argmax()] != 255 and counts.max() >= 0.3 * 16:
            terms.append(distance[image, y, x])
    loss = model.objectives['features'](step, model.student)['loss_distance']
    torch.testing.assert_close(loss, 0.005 * sum(terms) / len(terms), atol=1e-6, rtol=1e-4)


def test_contrast_has_the_cells_of_the_context():
    model = tiny.method('RCCR', hrda())
    assert (model.objectives['contrast'].stride, model.objectives['contrast'].width) == (4, 4)


def test_auxiliary_heads_read_the_context():
    net = tiny.build(hrda(auxiliary_head=tiny.fcn(4, 4)))
    features = net.extract_feat(images())
    losses = net.loss(images(), adapter.samples_of(tiny.labels()))
    assert 'aux.loss_ce' in losses
    assert net.auxiliary_head(features.context).shape[2:] == (DETAIL // 2, DETAIL // 2)


@pytest.mark.parametrize('option', [dict(checkpointing=['backbone', 'decode_head']), dict(channels_last=True),
                                    dict(compile='eager')], ids=str)
def test_options_of_speed_change_nothing(option):
    results = []
    for acceleration in (None, option):
        model = tiny.method('DACS', hrda(), seed=2, acceleration=acceleration)
        total, _ = tiny.losses_of(model, tiny.batch())
        total.backward()
        results.append([total.detach(), *(p.grad for p in model.student.parameters())])
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


def enc_head():
    return dict(type='EncHead', in_channels=[4], in_index=(0,), channels=4, num_codes=2, num_classes=tiny.CLASSES,
                norm_cfg=tiny.BN, align_corners=False, loss_decode=tiny.CROSS_ENTROPY, use_se_loss=False)


@pytest.mark.parametrize(('changes', 'match'), [
    (dict(detail_size=64), r'HRDA: detail_size=\(64, 64\) is larger than the training crop, 32 x 32; give at most'),
    (dict(detail_size=(16, 14)), r'must be multiples of 4, twice the stride of the logits, e.g. \(16, 16\)'),
    (dict(data_preprocessor=tiny.preprocessor(None)), 'without data_preprocessor.size.*it needs detail_size'),
    (dict(detail_size=0), r'must be multiples of 4.*e.g. \(4, 4\)'),
    (dict(data_preprocessor=tiny.preprocessor((30, 32))), 'image of 30 x 32 does not align .* multiples of 4, e.g. '),
    (dict(decode_head=enc_head()), 'one map at one stride; EncHead gives several in training. Use DAFormerHead'),
    (dict(decode_head=[tiny.fcn(4), tiny.fcn(4)]), 'HRDA needs one decode head, not the 2 of a cascade'),
    (dict(backbone=dict(type='DeepLabResNet', depth=18), decode_head=tiny.fcn(512)),
     r'FCNHead on DeepLabResNet gives \(17, 17\) for an image of \(128, 128\).*ceil_mode=False'),
    (dict(scale_attention=1.5), r'scale_attention=1.5 must lie in \[0, 1\]'),
    (dict(scale_attention=dict(channel=3)), 'scale_attention .*channel'),
    (dict(scale_attention=dict(num_classes=3)), 'num_classes=3; it must be 5, a map for each class, or 1'),
    (dict(detail_weight=2), r'detail_weight=2 must lie in \[0, 1\]'),
])
def test_networks_that_do_not_fit_are_refused(changes, match):
    tiny.rejects(match, (ValueError, UnsupportedSegmentorError), segmentor=hrda(**changes))


@pytest.mark.parametrize(('kind', 'arguments', 'match'), [
    ('DSP', {}, r"joint_views=\(\('mixed_source', 'mixed_target'\),\): HRDAEncoderDecoder .* joint_views=\(\)"),
    ('CAMix', dict(pseudo_labels=dict(significance=dict(scale=0.7))), 'significance.scale=0.7 .*22 x 22.*multiples of'),
])
def test_parts_that_do_not_fit_are_refused(kind, arguments, match):
    tiny.rejects(match, TableError, kind, hrda(), **arguments)


def test_deeplabv2_has_corners_at_multiples_of_16():
    head = dict(type='DeepLabV2Head', in_channels=512, num_classes=tiny.CLASSES)
    net = tiny.build(hrda(backbone=dict(type='DeepLabResNet', depth=18, ceil_mode=False), decode_head=head,
                          data_preprocessor=tiny.preprocessor((64, 64))))
    assert net.stride == 8
    boxes = [net.extract_feat(images(64, 64), torch.Generator().manual_seed(seed)).boxes[0] for seed in range(8)]
    assert {corner for box in boxes for corner in box} == {0, 16, 32, 48, 64}
