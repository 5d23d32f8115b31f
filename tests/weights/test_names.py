"""Weights under the names of others: the network then computes what theirs would."""

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from mmseg_camix.models.backbones import DeepLabResNet, DeepLabVGG16, MiT
from mmseg_camix.weights import WeightsError, extract_backbone, fit, unwrap_weights

from .foreign import HEADS, RATIOS, State, hugging_face_5_mit, hugging_face_mit, resnet, segformer_mit


def _conv(x: Tensor, w: State, name: str, **options: int) -> Tensor:
    return F.conv2d(x, w[f'{name}.weight'], w[f'{name}.bias'], **options)


def _linear(x: Tensor, w: State, name: str) -> Tensor:
    return x @ w[f'{name}.weight'].T + w[f'{name}.bias']


def _norm(x: Tensor, w: State, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)


def segformer_forward(image: Tensor, w: State, depth: int = 2) -> list[Tensor]:
    """MiT as the SegFormer paper describes it, with the weights of `segformer_mit`."""
    maps, x = [], image
    for stage, (heads, ratio) in enumerate(zip(HEADS, RATIOS), 1):
        kernel, stride = (7, 4) if stage == 1 else (3, 2)
        x = _conv(x, w, f'patch_embed{stage}.proj', stride=stride, padding=kernel // 2)
        batch, channels, height, width = x.shape
        tokens = _norm(x.flatten(2).mT, w, f'patch_embed{stage}.norm')
        for i in range(depth):
            tokens = tokens + _attention(tokens, w, f'block{stage}.{i}', heads, ratio, (height, width))
            hidden = _linear(_norm(tokens, w, f'block{stage}.{i}.norm2'), w, f'block{stage}.{i}.mlp.fc1')
            grid = hidden.mT.unflatten(2, (height, width))
            grid = _conv(grid, w, f'block{stage}.{i}.mlp.dwconv.dwconv', padding=1, groups=grid.shape[1])
            tokens = tokens + _linear(F.gelu(grid.flatten(2).mT), w, f'block{stage}.{i}.mlp.fc2')
        x = _norm(tokens, w, f'norm{stage}').mT.unflatten(2, (height, width))
        maps.append(x)
    return maps


def _attention(tokens: Tensor, w: State, block: str, heads: int, ratio: int, size: tuple[int, int]) -> Tensor:
    tokens = _norm(tokens, w, f'{block}.norm1')
    context = tokens
    if ratio > 1:
        grid = _conv(tokens.mT.unflatten(2, size), w, f'{block}.attn.sr', stride=ratio)
        context = _norm(grid.flatten(2).mT, w, f'{block}.attn.norm')
    query = _linear(tokens, w, f'{block}.attn.q')
    key, value = _linear(context, w, f'{block}.attn.kv').chunk(2, -1)
    parts = []
    for q, k, v in zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1)):
        parts.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v)
    return _linear(torch.cat(parts, -1), w, f'{block}.attn.proj')


@pytest.mark.parametrize('naming', ['original', 'hugging face', 'hugging face 5', 'within a segmentor'])
def test_mit_computes_what_the_original_does(naming):
    original = segformer_mit()
    state = {'original': lambda: original, 'hugging face': lambda: hugging_face_mit(original),
             'hugging face 5': lambda: hugging_face_5_mit(original),
             'within a segmentor': lambda: {f'backbone.{k}': v for k, v in original.items()
                                            if not k.startswith('head')} | {'decode_head.x': torch.ones(1)}}[naming]()
    own, left, _ = extract_backbone(state, 'mit')
    net = MiT('b0').eval()
    fit(net, own)
    assert len(left) == (1 if naming == 'within a segmentor' else 2)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(net(image), segformer_forward(image, original)):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_mit_of_mmseg_is_taken_as_it_is():
    net = MiT('b0')
    state = {f'backbone.{name}': value for name, value in net.state_dict().items()}
    own, left, naming = extract_backbone(state, 'mit')
    assert own.keys() == net.state_dict().keys()
    assert not left
    assert 'mmseg' in naming.title


@pytest.mark.parametrize(('prefix', 'deeplab'), [('Scale.', 21), ('', 0), ('module.', 19)])
def test_resnet_of_caffe_and_torchvision(prefix, deeplab):
    state = resnet((3, 4, 6, 3), prefix, counter=not deeplab, deeplab=deeplab)
    own, left, _ = extract_backbone(unwrap_weights(dict(state_dict=state)), 'resnet')
    net = DeepLabResNet(50)
    fit(net, own)
    torch.testing.assert_close(net.layer3[5].conv2.weight, state[f'{prefix}layer3.5.conv2.weight'])
    torch.testing.assert_close(net.bn1.running_var, state[f'{prefix}bn1.running_var'])
    assert len(left) == (8 if deeplab else 2)


def test_our_names_of_a_resnet_are_torchvisions():
    torchvision = pytest.importorskip('torchvision')
    theirs = torchvision.models.resnet50(weights=None).state_dict()
    assert resnet((3, 4, 6, 3)).keys() == theirs.keys()
    own, left, _ = extract_backbone(theirs, 'resnet')
    fit(DeepLabResNet(50, style='pytorch'), own)
    assert left == ['fc.weight', 'fc.bias']


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded():
    net = DeepLabResNet(50)
    before = net.conv1.weight.clone()
    own, _, _ = extract_backbone(resnet((3, 4, 6, 3)), 'resnet')
    own['layer9.weight'] = torch.ones(1)
    own['bn1.bias'] = torch.ones(3)
    del own['layer2.0.conv1.weight']
    with pytest.raises(WeightsError, match='nothing was loaded') as error:
        fit(net, own)
    for part in ('missing 1: layer2.0.conv1.weight', 'unexpected 1: layer9.weight',
                 r'of another shape 1: bn1.bias (3,) for (64,)'):
        assert part in str(error.value)
    assert torch.equal(net.conv1.weight, before)


def test_names_of_a_file_have_no_escapes():
    with pytest.raises(WeightsError) as error:
        fit(torch.nn.Linear(1, 1), {'\x1b[2J\nx': torch.ones(1)})
    assert r'unexpected 1: \x1b[2J x' in str(error.value)


def test_several_networks_in_a_file_need_a_prefix():
    encoder = segformer_mit()
    state = {f'{p}.backbone.{k}': v for p in ('model', 'ema_model') for k, v in encoder.items() if 'head' not in k}
    with pytest.raises(WeightsError, match="prefix='model.backbone.' or prefix='ema_model.backbone.'"):
        extract_backbone(state, 'mit')
    own, left, _ = extract_backbone(state, 'mit', 'model.backbone.')
    fit(MiT('b0'), own)
    assert all(name.startswith('ema_model.') for name in left)


def test_a_file_without_such_a_backbone_says_what_it_has():
    with pytest.raises(WeightsError, match=r'no mit backbone found.*patch_embed1.*begins with: conv1.weight'):
        extract_backbone(resnet((3, 4, 6, 3)), 'mit')
    with pytest.raises(WeightsError, match='contains no dict of weights; it contains epoch'):
        unwrap_weights(dict(epoch=3), 'x.pth')
    beside = dict(iteration=torch.tensor(7), model=dict(state_dict=resnet((1, 1, 1, 1))))
    assert unwrap_weights(beside).keys() == resnet((1, 1, 1, 1)).keys()


def _initialised(kind: str, path: str, **arguments: object) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope('mmseg'):
        net = MODELS.build(dict(type=kind, init_cfg=dict(type='PretrainedBackbone', checkpoint=path), **arguments))
    net.init_weights()
    return net


def test_configs_name_a_file(tmp_path):
    torch.save(dict(state_dict=segformer_mit(), meta={}), tmp_path / 'mit_b0.pth')
    net = _initialised('MiT', str(tmp_path / 'mit_b0.pth'), variant='b0')
    torch.testing.assert_close(net.layers[3][2].weight, segformer_mit()['norm4.weight'])
    torch.save(resnet((3, 4, 6, 3), 'Scale.', deeplab=21), tmp_path / 'r.pth')
    net = _initialised('DeepLabResNet', str(tmp_path / 'r.pth'), depth=50)
    expected = resnet((3, 4, 6, 3), deeplab=21)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected[name].to(value.dtype), msg=name)


def test_files_of_safetensors(tmp_path):
    from safetensors.torch import save_file
    state = hugging_face_mit(segformer_mit())
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / 'mit.safetensors')
    net = _initialised('MiT', str(tmp_path / 'mit.safetensors'), variant='b0')
    torch.testing.assert_close(net.layers[3][2].weight, segformer_mit()['norm4.weight'])


def test_a_file_that_is_not_there_says_what_to_do():
    with pytest.raises(WeightsError, match="at 'pretrained/no.pth'.*mmseg-camix weights.*init_cfg=None"):
        _initialised('MiT', 'pretrained/no.pth', variant='b0')


def test_stock_networks_of_mmseg_take_them_too(tmp_path):
    torch.save(resnet((3, 4, 6, 3)), tmp_path / 'r.pth')
    net = _initialised('ResNet', str(tmp_path / 'r.pth'), depth=50)
    torch.testing.assert_close(net.conv1.weight, resnet((3, 4, 6, 3))['conv1.weight'])


def test_vgg_keeps_its_new_layers(tmp_path):
    net = DeepLabVGG16()
    features = {k: v for k, v in net.state_dict().items() if k.startswith('features')}
    torch.save({**features, 'classifier.0.weight': torch.ones(2, 2)}, tmp_path / 'vgg.pth')
    other = _initialised('DeepLabVGG16', str(tmp_path / 'vgg.pth'))
    torch.testing.assert_close(other.features[0].weight, net.features[0].weight)
    assert float(other.fc6.weight.detach().std()) > 0


def test_what_was_loaded_is_not_initialised_again(tmp_path):
    class WithConvModule(DeepLabVGG16):  # mmcv's, which initialises itself where mmengine asks it to
        def __init__(self, **arguments):
            super().__init__(4, **arguments)
            self.fc7 = ConvModule(4, 4, 1)

    torch.save(WithConvModule().state_dict(), tmp_path / 'w.pth')
    net = WithConvModule(init_cfg=dict(type='PretrainedBackbone', checkpoint=str(tmp_path / 'w.pth')))
    net.init_weights()
    for name, value in torch.load(tmp_path / 'w.pth').items():
        assert torch.equal(net.state_dict()[name], value), name
