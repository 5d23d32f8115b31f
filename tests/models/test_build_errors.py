"""Errors when a model is built name the entry and the valid choices; errors of a step; segmentors that do not fit."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from mmseg_camix.engine.config import complete_for_adaptation
from mmseg_camix.models import UDASegmentor
from mmseg_camix.models.adapter import UnsupportedSegmentorError
from mmseg_camix.models.building import TableError

from . import tiny
from .tiny import rejects


@pytest.mark.parametrize(('table', 'entry', 'valid'), [
    ('masks', 'classes', 'BoxMask, ClassMask.*CowMask'),
    ('views', 'mixed', 'Augmented.*Paste, .*Shuffled'),
    ('objectives', 'mixed', 'PixelCrossEntropy, PixelMSE.*SupervisedLoss'),
])
@pytest.mark.parametrize('wrong', ['Nonsense', 'Resize', 'FCNHead'])
def test_unknown_type(table, entry, valid, wrong):
    """A misspelt type, and registered types of another kind."""
    rejects(f"{table[:-1]} '{entry}': type '{wrong}' is not a .*Available: .*{valid}",
            **{table: {entry: dict(type=wrong)}})


@pytest.mark.parametrize(('arguments', 'match'), [
    (dict(masks=dict(classes=dict(type='BoxMask', area=0))), r"mask 'classes'.*area=0 must lie in \(0, 1\]"),
    (dict(masks=dict(classes=dict(type='SquareMask', area=(0.5, 0.2)))), r'area=\(0.5, 0.2\) must be an increasing'),
    (dict(masks=dict(classes=dict(type='SquareMask', stride=0))), 'stride=0 at least 1'),
    (dict(masks=dict(classes=dict(type='CowMask', share=(0.5, 1.0)))), 'share .* must be an increasing range within'),
    (dict(augment=dict(blur_probability=50)), r'blur_probability=50 must lie in \[0, 1\]'),
], ids=str)
def test_numbers_out_of_range(arguments, match):
    rejects(match, **arguments)


def test_unknown_types_list_no_base_class():
    with pytest.raises(TableError) as caught:
        tiny.method('DACS', tiny.per_pixel(), masks=dict(classes=dict(type='Nonsense')))
    available = str(caught.value).split('Available: ')[1].split(', ')
    assert 'ClassMask' in available
    assert 'Mask' not in available
    assert 'Resize' not in available


@pytest.mark.parametrize(('changes', 'match'), [
    (dict(views=dict(mixed=dict(donor='sorce'))),
     "view 'mixed' reads view 'sorce', which is not defined. Did you mean 'source'. Available: mixed, source, target"),
    (dict(views=dict(mixed=dict(mask='clases'))), "reads mask 'clases'.*Did you mean 'classes'. Available: classes"),
    (dict(masks=dict(classes=dict(of='mixed'))), "mask 'classes' reads branch 'mixed'.*Available: source, target"),
    (dict(objectives=dict(mixed=dict(view='mixd'))),
     "objective 'mixed' reads view 'mixd'.*Did you mean 'mixed'. Available: mixed, source, target"),
    (dict(masks=dict(classes=None)), r"view 'mixed' reads mask 'classes'.*Available: \(none\)"),
])
def test_unknown_reference(changes, match):
    rejects(match, **changes)


@pytest.mark.parametrize(('views', 'circle'), [
    (dict(a=dict(type='Augmented', of='a')), 'a -> a'),
    (dict(a=dict(type='Augmented', of='b'), b=dict(type='Shuffled', of='c'), c=dict(type='Augmented', of='b')),
     'b -> c -> b'),
])
def test_cyclic_views_are_rejected(views, circle):
    rejects(f'in a cycle: {circle};', views=views)


def test_views_may_come_in_any_order():
    views = dict(first=dict(type='Augmented', of='second'), second=dict(type='Shuffled', of='target'))
    model = tiny.method('DACS', tiny.per_pixel(), views=views,
                        objectives=dict(first=dict(type='PixelCrossEntropy', view='first')))
    order = list(model.view_order)
    assert order.index('second') < order.index('first')
    assert sorted(order) == ['first', 'mixed', 'second']


@pytest.mark.parametrize(('changes', 'match'), [
    (dict(masks=dict(classes=dict(rato=0.3))), r"mask 'classes' \(ClassMask\) has no .*'rato'. Did you mean 'ratio'"),
    (dict(masks=dict(classes=dict(ratio=1.3))), r"mask 'classes' \(ClassMask\): ratio=1.3 must lie"),
    (dict(masks=dict(classes=dict(pool='both'))), "mask 'classes'.*pool='both' must be 'image' or 'batch'"),
    (dict(views=dict(mixed=dict(opacity=2))), r"view 'mixed' \(Paste\): opacity=2 must lie"),
    (dict(objectives=dict(mixed=dict(normalise='all'))), "objective 'mixed'.*normalise='all'.*pixels, weight, valid"),
    (dict(objectives=dict(mixed=dict(weight='1'))), "objective 'mixed'.*'1' is not a schedule"),
    (dict(pseudo_labels=dict(per='pixel')), "pseudo_labels.*per='pixel' must be one of batch, image"),
    (dict(pseudo_labels=dict(scope='mask')), "pseudo_labels.*scope='mask' must be one of target, view"),
    (dict(pseudo_labels=dict(treshold=0.9)), "pseudo_labels.*'treshold'. Did you mean 'threshold'"),
    (dict(pseudo_labels=dict(threshold=-1)), r'pseudo_labels.*threshold=-1 must lie in \[0, 1\]'),
    (dict(pseudo_labels=dict(threshold=float('nan'))), r'threshold=nan must lie in \[0, 1\]'),
    (dict(pseudo_labels=dict(significance=dict(pases=3))), r"significance.*'pases'. Did you mean 'passes'"),
    (dict(objectives=dict(mixed=dict(weight=-1))), "objective 'mixed'.*weight=-1 .*must be at least 0"),
    (dict(objectives=dict(mixed=dict(weight=float('nan')))), 'weight=nan .*must be at least 0'),
    (dict(objectives=dict(mixed=dict(weight=dict(type='Linear', start=1.0, end=-1.0)))), 'at 51%.*must be at least 0'),
    (dict(teacher=dict(norm='eval')), r"'teacher' \(EMATeacher\): norm='eval' is not one of batch, running"),
    (dict(teacher=dict(alpha=1.5)), r"'teacher' \(EMATeacher\): alpha=1.5 must lie"),
    (dict(teacher=dict(alfa=0.9)), "'teacher'.*'alfa'. Did you mean 'alpha'"),
    (dict(augment=dict(jiter=0.1)), "'augment'.*'jiter'. Did you mean 'jitter'"),
    (dict(augment=dict(jitter=2.0)), 'jitter brightness=2.0'),
    (dict(predict_with='techer'), "predict_with='techer' is not one of student, teacher"),
])
def test_wrong_argument(changes, match):
    rejects(match, (TableError, TypeError, ValueError), **changes)


@pytest.mark.parametrize('kind', ['Constat', None])
def test_unknown_schedule_names_the_objective(kind):
    rejects("objective 'mixed'.*available: Constant, Linear", (KeyError, ValueError, TypeError),
            objectives=dict(mixed=dict(weight=dict(type=kind, value=1.0))))


def test_predict_with_a_teacher_that_is_not_there():
    rejects("predict_with='teacher' is not one of student$", ValueError, 'SourceOnly', predict_with='teacher')


def test_an_entry_without_type():
    rejects("masks: 'clases' is a new entry and needs a dict with `type`.*Did you mean 'classes'",
            masks=dict(clases=dict(ratio=0.3)))
    rejects("mask 'classes' needs a dict with `type`", masks=dict(classes=3))


@pytest.mark.parametrize(('model', 'match'), [
    (dict(type='DACSS'), "type 'DACSS' is not registered.*Did you mean 'DACS'"),
    (dict(type='DACS', mask={}), r"model \(DACS\) has no argument 'mask'. Did you mean 'masks'"),
])
def test_near_misses_in_the_model(model, match):
    with pytest.raises(TableError, match=match):
        complete_for_adaptation(Config(dict(model=model)))


@pytest.mark.parametrize('model', [dict(type='EncoderDecoder', mask={}), dict(type='DACS', segmentor={})])
def test_valid_models_pass(model):
    complete_for_adaptation(Config(dict(model=model)))


def test_an_objective_named_loss():
    """parse_losses would back-propagate the accuracy of an objective of this name."""
    rejects("objective 'my_loss': a name must not contain 'loss'",
            objectives=dict(my_loss=dict(type='SupervisedLoss', view='source')))


def test_no_objective():
    rejects('at least one objective', objectives=dict(source=None, mixed=None))


def test_a_view_named_like_a_branch():
    rejects("view 'target' has the name of a branch", views=dict(target=dict(type='Shuffled', of='source')))


@pytest.mark.parametrize('arguments', [
    dict(views=dict(strong=dict(type='Augmented', of='target'))),
    dict(objectives=dict(strong=dict(type='PixelCrossEntropy', view='target'))),
    dict(masks=dict(classes=dict(type='ClassMask', of='target'))),
])
def test_target_labels_need_a_pseudo_labeller(arguments):
    rejects(r'no pseudo-labeller; give pseudo_labels=dict\(\)', kind='SourceOnly', **arguments)
    tiny.method('SourceOnly', tiny.per_pixel(), pseudo_labels=dict(), **arguments)


def test_a_plain_data_set_under_a_method_that_adapts():
    """What an existing config has, wrapped and nothing else changed."""
    model = tiny.method('DACS', tiny.per_pixel())
    data = model.data_preprocessor(tiny.batch(), True)
    with pytest.raises(ValueError, match='DACS needs images of target, .*gives only source.*PairedDataset'):
        model.loss(data['inputs']['source'], data['data_samples']['source'])


# ------------------------------------------------------------------ a step


def test_a_step_without_the_hook():
    model = tiny.method('DACS', tiny.per_pixel())
    model.progress = None
    with pytest.raises(RuntimeError, match='custom_hooks = .*UDAHook'):
        tiny.losses_of(model, tiny.batch())


def test_a_source_without_labels():
    data = tiny.batch()
    data['source']['data_samples'] = data['target']['data_samples']
    with pytest.raises(ValueError, match="branch 'source' has no labels.*LoadIdLabels"):
        tiny.losses_of(tiny.method('DACS', tiny.per_pixel()), data)


def test_domains_of_different_sizes():
    data = tiny.batch()
    data['target']['inputs'] = [item[:, :16] for item in data['target']['inputs']]
    cfg = tiny.per_pixel(crop=None)
    cfg['data_preprocessor']['size_divisor'] = 16
    with pytest.raises(ValueError, match="cannot paste 'source' .*32, 32.* over 'target' .*16, 32.*same crop"):
        tiny.losses_of(tiny.method('DACS', cfg), data)


def test_naive_classmix_needs_two_images():
    with pytest.raises(ValueError, match='at least 2 per process; raise train_dataloader.batch_size'):
        tiny.losses_of(tiny.method('NaiveClassMix', tiny.per_pixel()), tiny.batch(count=1))


@pytest.mark.parametrize('prior', [[1.0, 1, 1], [0.0] * 5, [1.0, 1, 1, 1, -1]])
def test_a_prior_that_is_none(prior):
    """Raised before training; testing needs no prior, so that the model builds without its file."""
    rejects(r'prior must be the frequencies of 5 classes, at least 0 and not all 0; got \[', ValueError,
            pseudo_labels=dict(align=dict(prior=prior)))
    tiny.build(dict(type='DACS', segmentor=tiny.per_pixel(), pseudo_labels=dict(align=dict(prior=prior))))


def test_missing_class_statistics():
    rejects('no class statistics at nowhere.json; make them with', FileNotFoundError,
            pseudo_labels=dict(align=dict(prior='nowhere.json')))


def test_alignment_without_the_hook():
    model = tiny.build(dict(type='DACS', segmentor=tiny.per_pixel(), pseudo_labels=dict(align=dict(prior=[1.0] * 5))))
    model.set_progress(0, 10)
    with pytest.raises(RuntimeError, match='the prior is not loaded; UDAHook does it'):
        tiny.losses_of(model, tiny.batch())


# ------------------------------------------------------------------ segmentors


@MODELS.register_module()
class Queries(BaseModule):
    """As Mask2FormerHead: not a BaseDecodeHead."""

    num_classes = out_channels = tiny.CLASSES
    ignore_index, align_corners = 255, False

    def __init__(self, num_classes, **kwargs):
        super().__init__()


@MODELS.register_module()
class Wrong(MODELS.get('FCNHead')):
    """A head of a subclass of BaseDecodeHead whose output is no map of logits."""

    output = 'list'

    def forward(self, inputs):
        logits = super().forward(inputs)
        return [logits] if self.output == 'list' else logits.flatten(2)


def test_a_head_without_per_pixel_logits():
    head = tiny.linear_head(type='Queries')
    rejects('decode head Queries gives no per-pixel logits.*SegformerHead', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), head))


@pytest.mark.parametrize(('head', 'reason'), [
    ('MaskFormerHead', 'predicts masks'), ('mmseg.Mask2FormerHead', 'predicts masks'),
    ('SideAdapterCLIPHead', 'predicts masks'), ('PointHead', 'trains on points')])
@pytest.mark.parametrize('in_cascade', [False, True])
def test_heads_that_are_known_to_be_unsupported(head, reason, in_cascade):
    """Refused before they are built: without mmdet some of them fail with an unrelated TypeError."""
    config = dict(type=head)
    rejects(f'{head.split(".")[-1]} {reason}.*Use a per-pixel head such as', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), [config, config] if in_cascade else config))


@pytest.mark.parametrize(('output', 'match'), [('list', 'Wrong returned list'), ('flat', r'shape \(1, 5, 1024\)')])
def test_a_head_of_the_right_class_with_another_output(output, match, monkeypatch):
    monkeypatch.setattr(Wrong, 'output', output)
    rejects(match, UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), tiny.linear_head(type='Wrong')))


def test_a_head_that_declares_logits_is_accepted():
    """The way out for heads that do not derive from BaseDecodeHead."""

    @MODELS.register_module(force=True)
    class OwnHead(nn.Module):
        per_pixel_logits = True
        ignore_index, align_corners = 255, False

        def __init__(self, num_classes, **kwargs):
            super().__init__()
            self.num_classes = self.out_channels = num_classes
            self.conv = nn.Conv2d(3, num_classes, 1)

        def forward(self, inputs):
            return self.conv(inputs[0])

    tiny.method('DACS', tiny.encoder_decoder(dict(type='PassThrough'), tiny.linear_head(type='OwnHead')))


@pytest.mark.parametrize('num_classes', [1, 2])
def test_one_logit_for_foreground_and_background(num_classes):
    head = tiny.linear_head(num_classes=num_classes, out_channels=1, threshold=0.5,
                            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    rejects(f'out_channels=1 for num_classes={num_classes}.*num_classes of at least 2', UnsupportedSegmentorError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), head))


def test_a_module_that_is_no_segmentor():
    rejects('no `extract_feat`', UnsupportedSegmentorError, segmentor=dict(type='BaseSegmentorStub'))


@MODELS.register_module()
class BaseSegmentorStub(nn.Module):
    pass


def test_a_crop_smaller_than_the_stride():
    resnet = tiny.segmentors()['FCN with an auxiliary head']
    resnet['data_preprocessor'] = tiny.preprocessor((8, 8))
    rejects(r'crop \(8, 8\) is too small for an output stride of 8', ValueError, segmentor=resnet)


def test_a_crop_that_the_network_cannot_work_on():
    unet = tiny.encoder_decoder(
        dict(type='UNet', base_channels=4, num_stages=4, strides=(1,) * 4, enc_num_convs=(1,) * 4,
             dec_num_convs=(1,) * 3, downsamples=(True,) * 3, enc_dilations=(1,) * 4, dec_dilations=(1,) * 3),
        tiny.fcn(4, 4, in_index=3, num_convs=0), crop=(12, 12))
    rejects(r'cannot process a blank image.*data_preprocessor.size=\(12, 12\)', ValueError, segmentor=unet)


def test_channels_that_do_not_fit():
    rejects('cannot process a blank image', ValueError,
            segmentor=tiny.encoder_decoder(dict(type='PassThrough'), tiny.fcn(7, 7, num_convs=0)))


@MODELS.register_module()
class Sevens(BaseModule):
    """As a vision transformer with patches of 14 pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 14, 14)

    def forward(self, image):
        if image.shape[2] % 14:
            raise AssertionError(f'{image.shape[2]} is no multiple of 14')
        return (self.conv(image),)


def test_a_network_that_takes_certain_sizes_only():
    """A large crop is tried in part, to be quick, but never refused for that."""
    fitting = tiny.encoder_decoder(dict(type='Sevens'), tiny.fcn(4, 4), crop=(140, 140))
    assert tiny.method('DACS', fitting).stride == 14
    rejects('132 is no multiple of 14.*size=.132, 132', ValueError,
            segmentor=tiny.encoder_decoder(dict(type='Sevens'), tiny.fcn(4, 4), crop=(132, 132)))


def test_the_probe_leaves_no_trace():
    """Batch statistics and the mode are as they were; no random number is drawn."""
    torch.manual_seed(0)
    plain = MODELS.build(tiny.small())
    expected = torch.rand(1)
    torch.manual_seed(0)
    model = UDASegmentor(tiny.small(), objectives=dict(source=dict(type='SupervisedLoss')))
    assert torch.equal(torch.rand(1), expected)
    for key, value in plain.state_dict().items():
        assert torch.equal(model.student.state_dict()[key], value), key
    assert all(module.training for module in model.student.modules())
