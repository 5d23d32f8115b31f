"""Options of evaluation: what they make of a pipeline, and sliding windows against a reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS

from mmseg_camix.engine import testing
from tests.models import tiny
from tests.tools_runner import ROOT
from tests.world import SIZE, config

PAPER = ['LoadImage', 'LoadIdLabels', 'Resize', 'EvaluateAtResizedShape', 'PackUDAInputs']
NATIVE = ['LoadImage', 'Resize', 'LoadIdLabels', 'PackUDAInputs']


def types(cfg):
    return [t['type'] for t in cfg.test_dataloader.dataset.pipeline]


def with_pipeline(world, tmp_path, *transforms):
    cfg = config(world, tmp_path)
    scale = dict(Resize=dict(scale=(40, 28)))
    cfg.test_dataloader.dataset.pipeline = [dict(type=name, **scale.get(name, {})) for name in transforms]
    return cfg


@pytest.mark.parametrize('before', [PAPER, NATIVE])
def test_resolutions(world, tmp_path, before):
    cfg = with_pipeline(world, tmp_path, *before)
    testing.evaluate_at(cfg, 'native')
    assert types(cfg) == NATIVE
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert tuple(sample['inputs'].shape[1:]) == (28, 40)
    assert tuple(sample['data_samples'].gt_sem_seg.shape) == sample['data_samples'].ori_shape == SIZE
    testing.evaluate_at(cfg, 'input')
    assert types(cfg) == PAPER
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert tuple(sample['inputs'].shape[1:]) == (28, 40)
    assert tuple(sample['data_samples'].gt_sem_seg.shape) == sample['data_samples'].ori_shape == (28, 40)
    assert testing.evaluation_settings(cfg, None)['resolution'] == 'input'


def test_pipelines_of_mmseg_work_too(world, tmp_path):
    """As mmseg's Cityscapes configs have it: labels are loaded after the resize."""
    cfg = config(world, tmp_path)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(40, 28), keep_ratio=True),
        dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    testing.evaluate_at(cfg, 'input')
    assert types(cfg) == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'EvaluateAtResizedShape', 'PackSegInputs']


def test_configs_of_the_real_sets_are_at_the_papers_resolution():
    for name in ('gta', 'synthia'):
        for network, pipeline, resolution in (('deeplabv2', PAPER, 'input'), ('daformer', NATIVE, 'native')):
            cfg = Config.fromfile(ROOT / f'configs/camix/{name}2cs_{network}.py')
            testing.evaluate_at(cfg, 'paper')
            assert types(cfg) == pipeline
            assert testing.evaluation_settings(cfg, None) == dict(
                resolution=resolution, inference='images at 1024x512, whole', scales=None, flip=False)


def test_images_of_a_kept_aspect_ratio_are_not_given_the_limit_as_their_size(world, tmp_path):
    cfg = with_pipeline(world, tmp_path, *NATIVE)
    cfg.test_dataloader.dataset.pipeline[1] = dict(type='Resize', scale=(4096, 512), keep_ratio=True)
    assert testing.evaluation_settings(cfg, None)['inference'] == \
        'images resized to at most 4096x512, aspect ratio kept, whole'


def test_input_size(world, tmp_path):
    for names in (PAPER, ['LoadImage', 'LoadIdLabels', 'PackUDAInputs']):
        cfg = with_pipeline(world, tmp_path, *names)
        testing.set_input_size(cfg, 80, 60)
        assert tuple(DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs'].shape[1:]) == (60, 80)


def test_a_resolution_needs_a_resize_and_a_plain_dataset(world, tmp_path):
    with pytest.raises(SystemExit, match='--input-size'):
        testing.evaluate_at(config(world, tmp_path), 'input')
    cfg = config(world, tmp_path)
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.test_dataloader.dataset])
    with pytest.raises(SystemExit, match='ConcatDataset'):
        testing.evaluate_at(cfg, 'native')


def slid_by_hand(network, image, window, step):
    """Mean of the logits of all windows, each pixel over those that see it."""
    height, width = image.shape[2:]
    total, count = torch.zeros(1, network.num_classes, height, width), torch.zeros(height, width)
    starts = [sorted({min(at, max(size - side, 0)) for at in range(0, size, stride)})
              for size, side, stride in zip((height, width), window, step)]
    for y in starts[0]:
        for x in starts[1]:
            part = image[:, :, y:y + window[0], x:x + window[1]]
            logits = network.decode_head(network.backbone(part))
            total[:, :, y:y + window[0], x:x + window[1]] += F.interpolate(
                logits, part.shape[2:], mode='bilinear', align_corners=False)
            count[y:y + window[0], x:x + window[1]] += 1
    return total / count


@pytest.mark.parametrize(('window', 'step'), [((32, 32), (16, 16)), ((24, 40), (20, 24)), ((64, 64), (32, 32))])
def test_sliding_windows(world, tmp_path, window, step):
    cfg = config(world, tmp_path)
    cfg.model.segmentor = ConfigDict(tiny.small(num_classes=19, dropout=0.0))
    testing.slide(cfg, window, step)
    model = tiny.randomised(tiny.build(cfg.model))
    batch = pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[0]])
    image = model.data_preprocessor(batch, False)['inputs']
    for name in model.networks:
        model.predict_with = name
        with torch.no_grad():
            actual = model.test_step(batch)[0].seg_logits.data
            expected = slid_by_hand(model.network(name), image, window, step)[0]
        np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=1e-4)


def test_sliding_by_default_takes_the_crop_and_half_of_it(world, tmp_path):
    cfg = config(world, tmp_path)
    testing.slide(cfg)
    assert cfg.model.segmentor.test_cfg == dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    assert 'windows of (32, 32) by (16, 16)' in testing.evaluation_settings(cfg, None)['inference']
    plain = config(world, tmp_path, method=None)
    testing.slide(plain)
    assert plain.model.test_cfg.mode == 'slide'
    with pytest.raises(SystemExit, match='skips pixels'):
        testing.slide(cfg, (32, 32), (33, 16))
    cfg.model.segmentor.data_preprocessor.size = None
    with pytest.raises(SystemExit, match='--slide WINDOW STRIDE'):
        testing.slide(cfg)


def test_metrics_report_classes(world, tmp_path):
    cfg = config(world, tmp_path)
    cfg.test_evaluator = ConfigDict(type='IoUMetric', iou_metrics=['mIoU'])  # as mmseg's configs have it
    testing.report_classes(cfg, ['synthia16', 'synthia13'])
    assert cfg.test_evaluator == dict(type='SubsetIoUMetric', subsets=dict(mIoU16='synthia16', mIoU13='synthia13'))
    cfg.test_evaluator = ConfigDict(type='IoUMetric', iou_metrics=['mDice'])
    testing.report_classes(cfg)
    assert cfg.test_evaluator.type == 'IoUMetric'
    cfg.test_evaluator = [dict(type='IoUMetric')]
    with pytest.raises(SystemExit, match='--subsets needs'):
        testing.report_classes(cfg, ['synthia16'])


def test_synthia_is_measured_over_its_classes_in_one_pass():
    from mmseg.registry import METRICS

    from mmseg_camix.datasets.encodings import SYNTHIA_13, SYNTHIA_16
    for name in ('dacs/synthia2cs_deeplabv2', 'camix/synthia2cs_daformer', 'dacs/mini_synthia2cs_tiny'):
        metric = METRICS.build(Config.fromfile(ROOT / f'configs/{name}.py').test_evaluator)
        assert metric.classes == SYNTHIA_16
        assert metric.subsets == dict(mIoU16=SYNTHIA_16, mIoU13=SYNTHIA_13)
