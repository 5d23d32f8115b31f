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
from mmseg_camix_tools.export.onnx import Graph, compared, write_onnx
from mmseg_camix_tools.export.plain import plain_network
from tests.models import tiny


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
        return np.stack([one.seg_logits.data.numpy() for one in segmentor.test_step(pseudo_collate(data))])


def noise(*shape):
    return np.random.RandomState(0).randint(0, 256, shape, np.uint8)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """(network, file of a graph that normalises, differences)."""
    path = tmp_path_factory.mktemp('onnx') / 'model.onnx'
    found = network(tiny.small())
    return found, path, write_onnx(found, path, with_preprocessing=True)


def test_with_preprocessing(small):
    found, path, differences = small
    assert list(differences) == ['1 x 32 x 32', '3 x 32 x 32', '2 x 48 x 64']
    assert all(value < 1e-4 for value in differences.values())
    for shape in ((1, 3, 32, 32), (4, 3, 40, 24)):
        images = noise(*shape)
        np.testing.assert_allclose(run(path, images), predicted(found.build(), images), atol=1e-5)


def test_what_the_file_says_of_itself(small):
    model = onnx.load(small[1])
    onnx.checker.check_model(model)
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(props['classes']) == list(CLASSES[:tiny.CLASSES])
    assert json.loads(props['palette']) == PALETTE[:tiny.CLASSES]
    assert props['input'] == 'uint8, bgr, 0 to 255'
    assert [one.name for one in model.graph.input] == ['image']
    assert [one.name for one in model.graph.output] == ['logits']


def test_one_size_without_preprocessing(tmp_path):
    segmentor = tiny.small(crop=(32, 48))
    segmentor['data_preprocessor'].update(mean=[1.0, 2.0, 3.0], bgr_to_rgb=False)
    found = network(segmentor)
    differences = write_onnx(found, tmp_path / 'model.onnx', size=(24, 40), opset=18)
    assert list(differences) == ['1 x 24 x 40', '3 x 24 x 40']
    model = onnx.load(tmp_path / 'model.onnx')
    assert model.opset_import[0].version == 18
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(props['normalisation']) == dict(channel_order='bgr', mean=[1, 2, 3], std=list(map(
        pytest.approx, tiny.STD)))
    images = noise(2, 3, 24, 40)
    normalised = (images.astype(np.float32) - np.array([1, 2, 3])[:, None, None]) / np.array(tiny.STD)[:, None, None]
    np.testing.assert_allclose(run(tmp_path / 'model.onnx', normalised.astype(np.float32)),
                               predicted(found.build(), images), atol=1e-5)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run(tmp_path / 'model.onnx', np.zeros((1, 3, 32, 40), np.float32))


def test_attention_at_any_size(tmp_path):
    """Where the exporter by tracing would write the number of tokens as a constant."""
    segmentor = tiny.segmentors()['SegFormer']
    segmentor['backbone'].update(num_stages=1, num_layers=[1], num_heads=[2], patch_sizes=[7], strides=[4],
                                 sr_ratios=[2], out_indices=(0,))
    segmentor['decode_head'].update(in_channels=[16], in_index=[0])
    found = network(segmentor)
    assert len(write_onnx(found, tmp_path / 'model.onnx')) == 3
    image = torch.randn(1, 3, 56, 72)
    with torch.no_grad():
        expected = found.build().predict(image)[0].seg_logits.data
    np.testing.assert_allclose(run(tmp_path / 'model.onnx', image.numpy())[0], expected, atol=1e-4)


@pytest.mark.parametrize(('change', 'match'), [
    (0.1, 'computes something else than PyTorch: logits of an input of 1 x 32 x 32 differ by '),
    (float('nan'), 'computes something else'),
])
def test_another_network_is_an_error(small, change, match):
    found, path, _ = small
    segmentor = found.build()
    graph = Graph(segmentor, with_preprocessing=True)
    content = path.read_bytes()
    assert compared(graph, content, [(1, 32, 32)])
    with torch.no_grad():
        segmentor.decode_head.conv_seg.bias[2] += change
    with pytest.raises(ExportError, match=match):
        compared(graph, content, [(1, 32, 32)])


def test_a_graph_that_does_not_run_is_an_error(small):
    graph = Graph(small[0].build())  # floats, where the graph takes bytes
    with pytest.raises(ExportError, match='onnxruntime cannot run the graph on an input of 1 x 32 x 32'):
        compared(graph, small[1].read_bytes(), [(1, 32, 32)])


@MODELS.register_module()
class Undecided(BaseModule):
    """A backbone that decides by what it sees, which no graph can."""

    def forward(self, image):
        return (image if image.mean() > 0 else -image,)


def test_a_network_without_a_graph(tmp_path):
    with pytest.raises(ExportError, match='torch cannot export this network to ONNX.*--size HEIGHT WIDTH'):
        write_onnx(network(tiny.encoder_decoder(dict(type='Undecided'), tiny.linear_head())), tmp_path / 'x.onnx')
    assert not list(tmp_path.iterdir())


def test_a_package_is_missing(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ExportError, match='pip install onnx onnxscript onnxruntime'):
        compared(Graph(small[0].build(), True), small[1].read_bytes(), [(1, 32, 32)])
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ExportError, match='pip install onnx onnxscript onnxruntime'):
        write_onnx(small[0], tmp_path / 'x.onnx')


def test_an_opset_that_torch_does_not_write(tmp_path):
    with pytest.raises(ExportError, match='torch wrote opset 18 and cannot convert it to 1; leave out --opset'):
        write_onnx(network(tiny.small()), tmp_path / 'a.onnx', (32, 48), opset=1)
    assert not (tmp_path / 'a.onnx').exists()
