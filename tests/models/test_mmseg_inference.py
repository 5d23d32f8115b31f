"""mmseg's own inference on an adapted config and its checkpoint."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model

from mmseg_camix.models.uda.inference import inference_pipeline
from tests.datasets.tiny import write_image
from tests.export import networks
from tests.models import tiny
from tests.world import config

TEST = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(80, 40)),
        dict(type='EvaluateAtResizedShape'), dict(type='PackUDAInputs')]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(config file, checkpoint, image file, model)."""
    folder = tmp_path_factory.mktemp('adapted')
    checkpoint, model = networks.trained(folder, networks.our_deeplab())
    cfg = config(networks.DATA, folder, segmentor=networks.our_deeplab())
    cfg.test_dataloader.dataset.pipeline = TEST
    cfg.test_pipeline = TEST
    cfg.dump(str(folder / 'cfg.py'))
    write_image(folder / 'image.png', 3, (48, 64))
    return str(folder / 'cfg.py'), str(checkpoint), str(folder / 'image.png'), model


def expected(model, network, path):
    label = networks.labels_by_mmseg(model.network(network), path, [TEST[0], TEST[2], TEST[4]])
    assert label.shape == (48, 64)
    return label


def predicted(model, image):
    return inference_model(model, image).pred_sem_seg.data[0].numpy()


@pytest.mark.parametrize('network', ['student', 'teacher'])
def test_init_model_and_inference_model(trained, network):
    cfg, checkpoint, image, ours = trained
    model = init_model(cfg, checkpoint, 'cpu', cfg_options={'model.predict_with': network})
    assert not model.training
    assert model.dataset_meta['classes'][0] == 'road'
    np.testing.assert_array_equal(predicted(model, image), expected(ours, network, image))
    _, array = inference_model(model, [cv2.imread(image)] * 2)
    np.testing.assert_array_equal(array.pred_sem_seg.data[0].numpy(), expected(ours, network, image))


@pytest.mark.parametrize('network', ['student', 'teacher'])
def test_the_checkpoint_of_a_plain_segmentor(trained, tmp_path, network):
    """It fills both networks: a method that is tested with its teacher must not answer with a random one."""
    cfg, _, image, ours = trained
    meta = dict(dataset_meta=dict(classes=['road'] * 19, palette=[[0, 0, 0]] * 19))  # as mmseg writes it
    torch.save(dict(state_dict=ours.network('student').state_dict(), meta=meta), tmp_path / 'plain.pth')
    model = init_model(cfg, str(tmp_path / 'plain.pth'), 'cpu', cfg_options={'model.predict_with': network})
    np.testing.assert_array_equal(predicted(model, image), expected(ours, 'student', image))


@pytest.mark.parametrize('network', ['student', 'teacher'])
def test_the_inferencer(trained, network):
    cfg, checkpoint, image, ours = trained
    cfg = Config.fromfile(cfg)
    cfg.model.predict_with = network
    cfg.visualizer = dict(type='SegLocalVisualizer', name='visualizer')
    inferencer = MMSegInferencer(cfg, checkpoint, device='cpu')
    inferencer.show_progress = False
    actual = inferencer(image, return_vis=True)
    np.testing.assert_array_equal(actual['predictions'], expected(ours, network, image))
    assert actual['visualization'].shape == (48, 64, 3)
    assert cfg.test_pipeline == TEST, "the caller's own config must stay"


def test_a_config_with_the_pipeline_in_its_data_set_alone(trained):
    cfg, checkpoint, image, ours = trained
    cfg = Config.fromfile(cfg)
    cfg.pop('test_pipeline')
    model = init_model(cfg, checkpoint, 'cpu')
    np.testing.assert_array_equal(predicted(model, image), expected(ours, 'student', image))


def test_a_model_that_was_given_none():
    model = tiny.method('DACS')
    with pytest.raises(AttributeError, match='cfg'):
        _ = model.cfg
    assert not hasattr(model, 'cfg')


def test_pipelines_without_labels():
    given = [dict(type='mmseg.LoadImage', to_float32=True), dict(type='LoadIdLabels'), dict(type='LoadAnnotations'),
             dict(type='Resize', scale=(4, 2)), dict(type='EvaluateAtResizedShape'), dict(type='PackUDAInputs')]
    before = [dict(transform) for transform in given]
    stock = [dict(type='LoadImageFromFile', to_float32=True), dict(type='Resize', scale=(4, 2)),
             dict(type='PackSegInputs')]
    assert inference_pipeline(given) == stock
    assert given == before
    assert inference_pipeline(stock) == stock
    assert inference_pipeline([dict(type='AugmentedViews', transforms=given, scales=(1, 2))]) == stock
    assert inference_pipeline([dict(type='Cached', root='x', transforms=given[:4]), given[-1]]) == stock
