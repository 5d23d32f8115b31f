"""Batches in few pieces arrive as they would one by one, bit for bit."""

import copy

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from mmseg_camix.datasets.paired import branch_collate
from mmseg_camix.models.uda.preprocessor import BranchPreprocessor

from . import tiny

CHANGES = {
    'as usual': {},
    'BGR': dict(bgr_to_rgb=False),
    'no normalisation': dict(mean=None, std=None),
    'crops smaller than the size': dict(size=(40, 36)),
    'crops larger than the size': dict(size=(16, 16)),
    'a divisor instead of a size': dict(size=None, size_divisor=24),
}


def items(edges=False, offset=0, dtype=torch.uint8):
    """As the paired data set gives them: labels of the source, none of the target."""
    data = tiny.batch(32, 3, edges=edges)
    result = []
    for i in range(3):
        source, target = (dict(inputs=data[name]['inputs'][i].to(dtype), data_samples=data[name]['data_samples'][i])
                          for name in ('source', 'target'))
        source['data_samples'].gt_sem_seg = PixelData(data=source['data_samples'].gt_sem_seg.data + offset)
        result.append(dict(source=source, target=target))
    return result


def built(**changes):
    return MODELS.build(tiny.preprocessor(**changes))


def one_by_one(given, **changes):
    """mmengine's collation and mmseg's preprocessor, for each branch."""
    inner = built(**changes)
    return {name: inner(branch, True) for name, branch in pseudo_collate(copy.deepcopy(given)).items()}


def at_once(given, **changes):
    return BranchPreprocessor(built(**changes))(branch_collate(copy.deepcopy(given)), True)


def assert_same(given, **changes):
    expected, actual = one_by_one(given, **changes), at_once(given, **changes)
    for name, branch in expected.items():
        assert torch.equal(actual['inputs'][name], branch['inputs'])
        assert actual['inputs'][name].dtype == branch['inputs'].dtype
        for sample, other in zip(actual['data_samples'][name], branch['data_samples']):
            keys = other.keys()
            assert sample.keys() == keys
            for key in keys:
                assert torch.equal(sample.get(key).data, other.get(key).data)
                assert sample.get(key).data.dtype == other.get(key).data.dtype
            assert sample.metainfo == other.metainfo


@pytest.mark.parametrize('name', list(CHANGES))
def test_the_same_in_few_pieces(name):
    assert_same(items(), **CHANGES[name])


@pytest.mark.parametrize('given', [items(edges=True), items(offset=300), items(offset=-1), items(dtype=torch.float32)],
    ids=['edge maps', 'labels above 255', 'negative labels', 'images of floats'])
def test_unusual_data_give_the_same(given):
    assert_same(given)


def test_images_of_several_sizes():
    given = items()
    small = given[1]['source']
    small['inputs'], label = small['inputs'][:, :20], small['data_samples'].gt_sem_seg.data[:, :20]
    small['data_samples'] = tiny.sample(label[0])
    assert_same(given)


def test_few_pieces():
    """One tensor for the images of a branch, one for its labels, as bytes."""
    batch = branch_collate(items())
    assert {key: value.dtype for key, value in batch['source'].items() if isinstance(value, torch.Tensor)} == dict(
        inputs=torch.uint8, labels=torch.uint8)
    assert all(sample.keys() == [] for sample in batch['source']['data_samples'])
    assert 'labels' not in batch['target']


def test_custom_preprocessors_get_whole_samples():
    recorded = {}

    class Own(torch.nn.Module):
        def forward(self, data, training=False):
            recorded.update(data)
            return data

    BranchPreprocessor(Own())(dict(source=branch_collate(items())['source']), True)
    assert recorded.keys() == {'inputs', 'data_samples'}
    assert all(sample.gt_sem_seg.data.dtype == torch.int64 for sample in recorded['data_samples'])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('collate', [pseudo_collate, branch_collate])
def test_everything_reaches_the_device(collate):
    result = BranchPreprocessor(built()).cuda()(collate(items()), True)
    assert all(images.is_cuda for images in result['inputs'].values())
    assert all(sample.gt_sem_seg.data.is_cuda for sample in result['data_samples']['source'])


@pytest.mark.parametrize('swaps', [True, False])
def test_the_channel_order_of_other_editions(swaps):
    """onedl-mmsegmentation keeps it in `_channel_conversion`."""
    inner = built(bgr_to_rgb=swaps)
    for name in ('channel_conversion', '_channel_conversion'):
        inner.__dict__.pop(name, None)
    expected = at_once(items(), bgr_to_rgb=swaps)['inputs']['source']
    inner._channel_conversion = swaps
    actual = BranchPreprocessor(inner)
    assert actual.channel_order == ('rgb' if swaps else 'bgr')
    assert torch.equal(actual(branch_collate(items()), True)['inputs']['source'], expected)
