"""ONNX graphs: the same numbers as mmseg's, and an error where they are not."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix_tools.export import ExportError
from mmseg_camix_tools.export.onnx import TORCH_MIN, Graph, compared, write_onnx
from mmseg_camix_tools.export.plain import plain_network
from tests.export import networks
from tests.models import tiny

pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split('.')[:2])) < TORCH_MIN, reason='ONNX export needs a later torch')


def network(segmentor):
    model = tiny.build(segmentor)
    meta = dict(dataset_meta=dict(classes=CLASSES[:tiny.CLASSES], palette=PALETTE))
    return plain_network(dict(state_dict=model.state_dict(), meta=meta), Config(dict(model=segmentor)))


def run(path, image):
    return onnxruntime.InferenceSession(str(path)).run(None, {'image': image})[0]


def predicted(segmentor, images):
    """(B, C, H, W) logits by mmseg's test_step, from uint8 BGR."""
    shapes = dict(ori_shape=images.shape[2:], img_shape=images.shape[2:])
    data = [dict(inputs=torch.from_numpy(image), data_samples=SegDataSample(metainfo=shapes)) for image in images]
    with torch.no_grad():
        return np.stack([sample.seg_logits.data.numpy() for sample in segmentor.test_step(pseudo_collate(data))])


def noise(*shape):
    return np.random.RandomState(0).randint(0, 256, shape, np.uint8)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """(network, file of a graph that normalises, differences)."""
    path = tmp_path_factory.mktemp('onnx') / 'model.onnx'
    plain = network(tiny.small())
    return plain, path, write_onnx(plain, path, with_preprocessing=True)


def test_with_preprocessing(small):
    plain, path, differences = small
    assert list(differences) == ['1 x 32 x 32', '3 x 32 x 32', '2 x 48 x 64']
    assert all(value < 1e-4 for value in differences.values())
    for shape in ((1, 3, 32, 32), (4, 3, 40, 24)):
        images = noise(*shape)
        np.testing.assert_allclose(run(path, images), predicted(plain.build(), images), atol=1e-5)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(props['classes']) == list(CLASSES[:tiny.CLASSES])
    assert json.loads(props['palette']) == PALETTE[:tiny.CLASSES]
    assert props['input'] == 'uint8, bgr, 0 to 255'
    assert [node.name for node in (*model.graph.input, *model.graph.output)] == ['image', 'logits']


def test_one_size_without_preprocessing(tmp_path):
    segmentor = tiny.small(crop=(32, 48))
    segmentor['data_preprocessor'].update(mean=[1.0, 2.0, 3.0], bgr_to_rgb=False)
    plain = network(segmentor)
    differences = write_onnx(plain, tmp_path / 'model.onnx', size=(24, 40), opset=18)
    assert list(differences) == ['1 x 24 x 40', '3 x 24 x 40']
    model = onnx.load(tmp_path / 'model.onnx')
    assert model.opset_import[0].version == 18
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(props['normalisation']) == dict(channel_order='bgr', mean=[1, 2, 3], std=list(map(
        pytest.approx, tiny.STD)))
    images = noise(2, 3, 24, 40)
    normalised = (images.astype(np.float32) - np.array([1, 2, 3])[:, None, None]) / np.array(tiny.STD)[:, None, None]
    np.testing.assert_allclose(run(tmp_path / 'model.onnx', normalised.astype(np.float32)),
                               predicted(plain.build(), images), atol=1e-5)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run(tmp_path / 'model.onnx', np.zeros((1, 3, 32, 40), np.float32))


def test_attention_at_any_size(tmp_path):
    """Where the exporter by tracing would write the number of tokens as a constant."""
    segmentor = tiny.segmentors()['SegFormer']
    segmentor['backbone'].update(num_stages=1, num_layers=[1], num_heads=[2], patch_sizes=[7], strides=[4],
                                 sr_ratios=[2], out_indices=(0,))
    segmentor['decode_head'].update(in_channels=[16], in_index=[0])
    plain = network(segmentor)
    assert len(write_onnx(plain, tmp_path / 'model.onnx')) == 3
    image = torch.randn(1, 3, 56, 72)
    with torch.no_grad():
        expected = plain.build().predict(image)[0].seg_logits.data
    np.testing.assert_allclose(run(tmp_path / 'model.onnx', image.numpy())[0], expected, atol=1e-4)


@pytest.mark.parametrize(('change', 'as_bytes', 'match'), [
    (0.1, True, 'computes something else than PyTorch: logits of an input of 1 x 32 x 32 differ by '),
    (float('nan'), True, 'computes something else'),
    (0, False, 'onnxruntime cannot run the graph on an input of 1 x 32 x 32')])
def test_a_graph_of_another_network_is_an_error(small, change, as_bytes, match):
    segmentor, content = small[0].build(), small[1].read_bytes()
    assert compared(Graph(segmentor, with_preprocessing=True), content, [(1, 32, 32)])
    with torch.no_grad():
        segmentor.decode_head.conv_seg.bias[2] += change
    with pytest.raises(ExportError, match=match):
        compared(Graph(segmentor, with_preprocessing=as_bytes), content, [(1, 32, 32)])


@MODELS.register_module()
class DataDependent(BaseModule):
    """A backbone with a branch that depends on the image, which no graph can have."""

    def forward(self, image):
        return (image if image.mean() > 0 else -image,)


@pytest.mark.parametrize(('segmentor', 'options', 'match'), [
    (tiny.encoder_decoder(dict(type='DataDependent'), tiny.linear_head()), {},
     '(torch cannot export this network to ONNX|computes something else than PyTorch).*--size HEIGHT WIDTH'),
    (tiny.small(), dict(size=(32, 48), opset=1),  # torch 2.8 fails in another way
     'torch wrote opset 18 and cannot convert it to 1; leave out --opset|torch cannot export this network to ONNX')])
def test_a_failed_export_leaves_no_file(tmp_path, segmentor, options, match):
    with pytest.raises(ExportError, match=match):
        write_onnx(network(segmentor), tmp_path / 'x.onnx', **options)
    assert not list(tmp_path.iterdir())


def test_hrda_at_one_size(tmp_path):
    """Its windows are constants of the graph; the batch may be any."""
    plain = network(networks.hrda())
    differences = write_onnx(plain, tmp_path / 'hrda.onnx', size=(64, 96))
    assert list(differences) == ['1 x 64 x 96', '3 x 64 x 96']
    assert all(value < 1e-4 for value in differences.values())
    with pytest.raises(ExportError, match='--size HEIGHT WIDTH'):
        write_onnx(plain, tmp_path / 'any.onnx')


def test_a_package_is_missing(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ExportError, match='pip install onnx onnxscript onnxruntime'):
        compared(Graph(small[0].build(), True), small[1].read_bytes(), [(1, 32, 32)])
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ExportError, match='pip install onnx onnxscript onnxruntime'):
        write_onnx(small[0], tmp_path / 'x.onnx')
