"""Published checkpoints, built with their public names and shapes, become ours."""

import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.apis import init_model
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_camix.checkpoint import CheckpointError
from mmseg_camix.weights import WeightsError
from mmseg_camix.weights.initialiser import read_weights
from mmseg_camix.weights.published import convert_weights, select_network
from mmseg_camix_tools.export.files import open_network
from tests.models.tiny import encoder_decoder
from tests.tools_runner import call

from .foreign import _norm, _pair, _random, resnet, segformer_mit

MIT = dict(type='MiT', variant='b0')
HEAD = dict(type='DAFormerHead', in_channels=[32, 64, 160, 256], embed_dims=8, channels=6, num_classes=5)
RESNET = dict(type='DeepLabResNet', depth=50)


def build(backbone, head, **others):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(encoder_decoder(dict(backbone), dict(head), **others))


def daformer_head(prefix='decode_head.', width=8, channels=6, classes=5, context=True, seed=1):
    """As DAFormer's code names it; the attention of HRDA has a 1x1 fusion."""
    shapes = {}
    for i, inner in enumerate((32, 64, 160, 256)):
        shapes |= _pair(f'embed_layers.{i}.proj', width, inner)
    if context:
        for i in range(4):
            base = f'fuse_layer.aspp_modules.{i}'
            if i == 0:
                shapes |= {f'{base}.conv.weight': (channels, 4 * width, 1, 1)} | _norm(f'{base}.bn', channels, True)
                continue
            shapes |= {f'{base}.depthwise_conv.conv.weight': (4 * width, 1, 3, 3),
                       f'{base}.pointwise_conv.conv.weight': (channels, 4 * width, 1, 1)}
            shapes |= _norm(f'{base}.depthwise_conv.bn', 4 * width, True)
            shapes |= _norm(f'{base}.pointwise_conv.bn', channels, True)
        shapes |= {'fuse_layer.bottleneck.conv.weight': (channels, 4 * channels, 3, 3)}
        shapes |= _norm('fuse_layer.bottleneck.bn', channels, True)
    else:
        shapes |= {'fuse_layer.conv.weight': (channels, 4 * width, 1, 1)} | _norm('fuse_layer.bn', channels, True)
    shapes |= _pair('conv_seg', classes, channels, 1, 1)
    return {prefix + name: value for name, value in _random(shapes, seed).items()}


def daformer(head=None):
    """Student, teacher and ImageNet encoder, as DAFormer saves them."""
    encoder = {f'backbone.{k}': v for k, v in segformer_mit().items() if not k.startswith('head')}
    head = daformer_head() if head is None else head
    networks = {f'model.{k}': v for k, v in (encoder | head).items()}
    networks |= {f'ema_model.{k}': v + 1 for k, v in (encoder | head).items()}
    return networks | {f'imnet_model.{k}': v for k, v in (encoder | head).items()}


@pytest.mark.parametrize(('network', 'added'), [('student', 0), ('teacher', 1)])
def test_daformer(network, added):
    model = build(MIT, HEAD)
    state = select_network(dict(state_dict=daformer(), meta={}), network)
    weights, report = convert_weights(state, model, network)
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert not report.unmapped
    theirs = daformer_head()
    for ours, name in (('conv_seg.bias', 'conv_seg.bias'),
                       ('fuse_layer.aspp_modules.2.pointwise_conv.bn.running_var',) * 2):
        torch.testing.assert_close(weights[f'decode_head.{ours}'], theirs[f'decode_head.{name}'] + added)
    torch.testing.assert_close(weights['backbone.layers.1.2.weight'], segformer_mit()['norm2.weight'] + added)
    assert sum(len(names) for names in report.dropped.values()) == 2 * len(state) // 3


def hrda():
    """The head within HRDA's, with its attention; MIC's are the same."""
    return daformer(daformer_head('decode_head.head.')
                    | daformer_head('decode_head.scale_attention.', context=False, seed=2))


def test_mic_has_a_copy_of_its_teacher():
    copies = {f'mic.teacher.{name}': value for name, value in hrda().items() if name.startswith('ema_model.')}
    weights, report = convert_weights(hrda() | copies, build(MIT, HEAD), 'teacher', ['decode_head.scale_attention.'])
    assert list(report.dropped["MIC's own copy of the teacher"]) == list(copies)
    torch.testing.assert_close(weights['backbone.layers.1.2.weight'], segformer_mit()['norm2.weight'] + 1)


TWO_SCALES = dict(type='HRDAEncoderDecoder', detail_size=32, scale_attention=dict(fusion='plain'))


def without(prefix, state):
    """The part of a state dict that has a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@pytest.mark.parametrize(('network', 'prefix'), [('student', 'model.'), ('teacher', 'ema_model.')])
def test_hrda_and_mic_whole(network, prefix):
    """All weights find their place, and the network predicts what its parts do, loaded from the file one by one."""
    networks = {name: value.abs() if 'running_var' in name else value for name, value in hrda().items()}
    theirs = networks | {f'mic.teacher.{name}': value for name, value in networks.items() if 'ema_model.' in name}
    model = build(MIT, HEAD, crop=(64, 64), **TWO_SCALES)
    weights, report = convert_weights(select_network(dict(state_dict=theirs), network), model, network)
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert not report.unmapped
    model.load_state_dict(weights)
    single, attention = build(MIT, HEAD), build(MIT, dict(HEAD, fusion='plain')).decode_head
    one_scale, _ = convert_weights(networks, single, network, ['decode_head.scale_attention.'])
    single.load_state_dict(one_scale)
    attention.load_state_dict(without(f'{prefix}decode_head.scale_attention.', networks), strict=False)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fused = model.eval().outputs(model.extract_feat(image))[0].logits
        single, attention, half = single.eval(), attention.eval(), F.interpolate(image, (32, 32), mode='bilinear')
        context, share = single(half, None, 'tensor'), attention(single.extract_feat(half)).sigmoid()
        detail, count = torch.zeros(1, 5, 16, 16), torch.zeros(1, 1, 16, 16)
        for y in (0, 16, 32):  # windows of 32, half overlapping; cells of 4 pixels
            for x in (0, 16, 32):
                window = (..., slice(y // 4, y // 4 + 8), slice(x // 4, x // 4 + 8))
                detail[window] += single(image[..., y:y + 32, x:x + 32], None, 'tensor')
                count[window] += 1
        first, second = (F.interpolate(x, (16, 16), mode='bilinear') for x in (share, (1 - share) * context))
    torch.testing.assert_close(fused, first * detail / count + second, rtol=1e-4, atol=1e-5)


def test_hrda_with_deeplabv2():
    """Head and attention are pairs of dilated classifiers; what the code never runs is left out by name."""
    classifiers = {name: value for name, value in dacs(module=False).items() if 'layer5' in name}
    state = {f'model.backbone.{name}': value for name, value in resnet((3, 4, 6, 3)).items() if 'fc' not in name}
    for part, added in (('head', 0), ('scale_attention', 1)):
        for name, value in classifiers.items():
            index, kind = re.match(r'layer5.conv2d_list.(\d).(\w+)', name).groups()
            state[f'model.decode_head.{part}.aspp_modules.{index}.conv.{kind}'] = value + added
    head = dict(type='DeepLabV2Head', num_classes=5, align_corners=False)
    model = build(dict(RESNET, style='pytorch', ceil_mode=False), head, crop=(64, 64), type='HRDAEncoderDecoder',
                  detail_size=32)
    weights, report = convert_weights(state, model)
    for part, added in (('head', 0), ('scale_attention', 1)):
        torch.testing.assert_close(weights[f'decode_head.{part}.classifiers.1.weight'],
                                   classifiers['layer5.conv2d_list.1.weight'] + added)
    left = [name for names in report.dropped.values() for name in names]
    assert len(left) == 8  # rates 18 and 24, twice
    single = build(dict(RESNET, style='pytorch'), dict(type='DeepLabV2Head', num_classes=5))
    with pytest.raises(WeightsError, match='8 names of the file have no place.*scale_attention'):
        convert_weights(state, single)
    one_scale, _ = convert_weights(state, single, allow_unmapped=['decode_head.scale_attention.'])
    assert one_scale.keys() == single.state_dict().keys()


def test_deeplabv2_of_daformers_code():
    state = {f'model.backbone.{name}': value for name, value in resnet((3, 4, 6, 3)).items() if 'fc' not in name}
    heads = {name.replace('layer5.conv2d_list', 'model.decode_head.aspp_modules').replace('.weight', '.conv.weight')
             .replace('.bias', '.conv.bias'): value for name, value in dacs(module=False).items() if 'layer5' in name}
    weights, _ = convert_weights(state | heads, build(RESNET, dict(type='DeepLabV2Head', num_classes=5)))
    torch.testing.assert_close(weights['decode_head.classifiers.1.bias'], dacs(module=False)[
        'layer5.conv2d_list.1.bias'])


def test_hrda_needs_to_be_told_that_its_attention_goes():
    model = build(MIT, HEAD)
    with pytest.raises(WeightsError, match='decode_head.scale_attention.*allow-unmapped'):
        convert_weights(hrda(), model)
    weights, report = convert_weights(hrda(), model, allow_unmapped=['decode_head.scale_attention.'])
    assert weights.keys() == model.state_dict().keys()
    assert all('scale_attention' in name for name in report.unmapped)
    torch.testing.assert_close(weights['decode_head.conv_seg.weight'], daformer_head()['decode_head.conv_seg.weight'])


def dacs(extra=None, module=True):
    state = resnet((3, 4, 6, 3), deeplab=5, counter=False) | (extra or {})
    return {f'module.{k}' if module else k: v for k, v in state.items()}


@pytest.mark.parametrize('rates', [(6, 12), (6, 12, 18, 24)])
def test_dacs_and_camix(rates):
    model = build(RESNET, dict(type='DeepLabV2Head', num_classes=5, dilations=rates))
    checkpoint = dict(iteration=250000, optimizer={}, config={}, model=dacs())
    weights, report = convert_weights(select_network(checkpoint, 'student'), model)
    for i in range(len(rates)):
        torch.testing.assert_close(weights[f'decode_head.classifiers.{i}.weight'],
                                   dacs(module=False)[f'layer5.conv2d_list.{i}.weight'])
    left = [name for names in report.dropped.values() for name in names]
    assert len(left) == 2 * (4 - len(rates))  # the two classifiers that their code never runs
    model.load_state_dict(weights, strict=False)
    torch.testing.assert_close(model.backbone.conv1.weight, dacs(module=False)['conv1.weight'])


def test_the_teacher_of_the_dacs_family():
    model = build(RESNET, dict(type='DeepLabV2Head', num_classes=5))
    teacher = {k: v + 1 for k, v in dacs().items()}
    state = select_network(dict(model=dacs(), ema_model=teacher), 'teacher')
    weights, _ = convert_weights(state, model, 'teacher')
    torch.testing.assert_close(weights['backbone.conv1.weight'], teacher['module.conv1.weight'])
    with pytest.raises(WeightsError, match='one network only'):
        convert_weights(select_network(dict(model=dacs()), 'teacher'), model, 'teacher')


@pytest.mark.parametrize(('method', 'name'), [('DSP', 'c1.weight'), ('RCCR', 'proj_head.project.0.weight')])
def test_projections_go(method, name):
    model = build(RESNET, dict(type='DeepLabV2Head', num_classes=5))
    _, report = convert_weights(dacs({name: torch.ones(256, 2048, 1, 1)}, module=False), model)
    assert any(method in reason for reason in report.dropped)
    assert method in '\n'.join(report.lines())


def test_what_is_unknown_or_lacks_is_refused():
    model = build(RESNET, dict(type='DeepLabV2Head', num_classes=5))
    with pytest.raises(WeightsError, match='1 names of the file have no place.*strange.weight'):
        convert_weights(dacs({'strange.weight': torch.ones(1)}, module=False), model)
    partial = dacs(module=False)
    del partial['layer3.0.bn2.weight']
    with pytest.raises(WeightsError, match=r'missing 1: backbone.layer3.0.bn2.weight'):
        convert_weights(partial, model)
    with pytest.raises(WeightsError, match='missing'):  # another head
        convert_weights(dacs(module=False), build(RESNET, dict(type='FCNHead', in_channels=2048, channels=4,
                                                                 num_classes=5)), allow_unmapped=['layer5.'])
    with pytest.raises(WeightsError, match='of another shape'):  # other classes
        convert_weights(dacs(module=False), build(RESNET, dict(type='DeepLabV2Head', num_classes=6)))


def test_the_tool(tmp_path, capsys):
    config = tmp_path / 'config.py'
    method = dict(type='SourceOnly', segmentor=encoder_decoder(MIT, HEAD))
    config.write_text(f"default_scope = 'mmseg'\nmodel = {method!r}\n")
    names = ('road', 'tree', 'sky', 'car', 'bus')
    theirs = dict(state_dict=daformer(), meta=dict(CLASSES=names, PALETTE=[[i, 2, 3] for i in range(5)]))
    torch.save(theirs, tmp_path / 'theirs.pth')
    ours = tmp_path / 'new/folder/ours.pth'
    assert call('convert_checkpoint.py', config, tmp_path / 'theirs.pth', ours) == 0
    printed = capsys.readouterr().out
    assert 'unmapped 0' in printed
    assert 'mapped' in printed
    written = torch.load(ours, weights_only=True)
    assert written['meta']['converted_from'] == 'theirs.pth'
    loaded = init_model(str(config), str(ours), 'cpu')
    assert loaded.dataset_meta == dict(classes=names, palette=theirs['meta']['PALETTE'])
    network = open_network(ours)  # as predict.py and export.py do, without a config
    assert (network.classes, network.name) == (names, 'segmentor')
    for state in (network.state, loaded.student.state_dict()):
        assert state.keys() == written['state_dict'].keys()
        assert all(torch.equal(state[name], value) for name, value in written['state_dict'].items())


@pytest.mark.parametrize(('content', 'message'), [
    (lambda: dict(state_dict=hrda()), '16 names of the file have no place.*scale_attention'),
    (lambda: dict(state_dict=dict(daformer(), **{'model.backbone.norm1.bias': torch.full((32,), torch.nan)})),
     r'1 weights are NaN or infinite \(backbone.layers.0.2.bias\); nothing was loaded'),
    (lambda: dict(state_dict={3: torch.ones(2)}), r'names weights by numbers or objects and not by strings \(3\)'),
    (lambda: dict(state_dict={}, meta={}), 'contains no dict of weights; it contains nothing'),
    (lambda: dict(state_dict=daformer(), meta='2020'), 'its `meta` is a str, not a dict'),
    (lambda: [torch.ones(2)], 'contains no dict of weights; it contains a list'),
    (lambda: None, 'no checkpoint at'),
    (lambda: '<html>404</html>', 'was not opened'),
])
def test_the_tool_refuses(content, message, tmp_path):
    """In one line that names the file; nothing is written."""
    config, file = tmp_path / 'config.py', tmp_path / 'theirs.pth'
    config.write_text(f"default_scope = 'mmseg'\nmodel = {encoder_decoder(MIT, HEAD)!r}\n")
    content = content()
    if isinstance(content, str):
        file.write_text(content)
    elif content is not None:
        torch.save(content, file)
    error = call('convert_checkpoint.py', config, file, tmp_path / 'no.pth')
    assert re.fullmatch(f'error: [^\n]*theirs.pth.*{message}.*|error: {message} .*theirs.pth.*', error)
    assert not (tmp_path / 'no.pth').exists()
    assert call('convert_checkpoint.py', config, file, file) == 2, 'the published file would be replaced'


def test_files_of_old_and_with_foreign_things(tmp_path):
    """torch of 2020 wrote another format; programs keep their options and optimisers beside the weights."""
    weight = torch.ones(3, requires_grad=True)
    checkpoint = dict(model=dict(x=weight.detach()), args=Namespace(lr=0.1), iteration=np.int64(3),
                      optimizer=torch.optim.SGD([weight], lr=0.1).state_dict())
    for zipped in (True, False):
        torch.save(checkpoint, tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
        state = select_network(read_weights(str(tmp_path / 'w.pth')), 'student')
        assert list(state) == ['x']
        assert torch.equal(state['x'], torch.ones(3))


def test_damaged_safetensors_and_addresses_of_them(tmp_path):
    (tmp_path / 'w.safetensors').write_bytes(b'404' * 99)
    for name in (str(tmp_path / 'w.safetensors'), 'https://example.org/w.safetensors'):
        with pytest.raises((CheckpointError, WeightsError), match=r'w\.safetensors was not opened: it is damaged'):
            read_weights(name)
