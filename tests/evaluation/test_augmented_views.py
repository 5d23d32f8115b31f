"""Test-time augmentation against a reference that resizes, mirrors and averages by hand."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.datasets.transforms import AugmentedViews
from mmseg_camix.engine import testing
from mmseg_camix.engine.config import complete_for_adaptation
from tests.devices import on_devices
from tests.models import tiny
from tests.world import SIZE, VAL, config

SCALES = (0.5, 1.0, 1.25)
RESIZED = (40, 56)  # height, width


def paper_pipeline(labels=True):
    return [dict(type='LoadImage'), *([dict(type='LoadIdLabels')] if labels else []),
            dict(type='Resize', scale=RESIZED[::-1]), dict(type='EvaluateAtResizedShape'), dict(type='PackUDAInputs')]


def dataset(world, pipeline):
    return DATASETS.build(dict(type='RawCityscapesDataset', data_root=f'{world}/cityscapes', test_mode=True,
                               data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
                               pipeline=pipeline))


def by_hand(network, path, scales=SCALES, flip=True, base=RESIZED, out=RESIZED):
    """(C, H, W): each view is resized from the file, goes through the network and is put back."""
    image = cv2.imread(path)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (tiny.MEAN, tiny.STD))
    total, count = 0, 0
    for scale in scales:
        size = (round(base[1] * scale), round(base[0] * scale))
        for mirrored in (False, True) if flip else (False,):
            view = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            view = np.ascontiguousarray(view[:, ::-1] if mirrored else view)
            x = (torch.from_numpy(view[..., ::-1].copy()).permute(2, 0, 1).float() - mean) / std
            logits = network.decode_head(network.backbone(x[None]))
            logits = F.interpolate(logits, size[::-1], mode='bilinear', align_corners=False)
            logits = logits.flip(3) if mirrored else logits
            logits = F.interpolate(logits, out, mode='bilinear', align_corners=False)
            total, count = total + logits.softmax(1)[0], count + 1
    return total / count


@pytest.mark.parametrize('flip', [True, False])
@pytest.mark.parametrize('network', ['student', 'teacher'])
def test_averages_are_those_of_the_reference(world, network, flip):
    model = tiny.randomised(tiny.build(dict(type='DACS', segmentor=tiny.small(num_classes=19))))
    model.predict_with = network
    averaged = MODELS.build(dict(type='AveragedViews', module=model)).eval()
    views = dataset(world, [dict(type='AugmentedViews', transforms=paper_pipeline(), scales=SCALES, flip=flip)])
    plain = dataset(world, paper_pipeline())
    for index in range(VAL):
        sample = averaged.test_step(pseudo_collate([views[index]]))[0]
        with torch.no_grad():
            expected = by_hand(model.network(network), sample.img_path, flip=flip)
        torch.testing.assert_close(sample.probabilities.data, expected, atol=2e-5, rtol=1e-4)
        assert torch.equal(sample.pred_sem_seg.data, sample.probabilities.data.argmax(0, keepdim=True))
        # Labels and size are those of the pipeline without augmentation.
        assert torch.equal(sample.gt_sem_seg.data, plain[index]['data_samples'].gt_sem_seg.data)
        assert sample.pred_sem_seg.data.shape == sample.gt_sem_seg.data.shape == (1, *RESIZED)
        assert 'seg_logits' not in sample


def test_one_view_is_no_augmentation(world):
    model = tiny.randomised(tiny.build(dict(type='DACS', segmentor=tiny.small(num_classes=19))))
    averaged = MODELS.build(dict(type='AveragedViews', module=model)).eval()
    views = dataset(world, [dict(type='AugmentedViews', transforms=paper_pipeline(), scales=(1,), flip=False)])
    with torch.no_grad():
        expected = model.test_step(pseudo_collate([dataset(world, paper_pipeline())[0]]))[0]
    actual = averaged.test_step(pseudo_collate([views[0]]))[0]
    assert torch.equal(actual.pred_sem_seg.data, expected.pred_sem_seg.data)


def test_labels_at_native_size(world):
    """Without EvaluateAtResizedShape, predictions are compared at the size of the label file."""
    pipeline = [dict(type='LoadImage'), dict(type='Resize', scale=RESIZED[::-1]), dict(type='LoadIdLabels'),
                dict(type='PackUDAInputs')]
    model = tiny.randomised(tiny.build(tiny.small(num_classes=19)))
    averaged = MODELS.build(dict(type='AveragedViews', module=model)).eval()
    views = dataset(world, [dict(type='AugmentedViews', transforms=pipeline, scales=SCALES)])
    sample = averaged.test_step(pseudo_collate([views[0]]))[0]
    with torch.no_grad():
        expected = by_hand(model, sample.img_path, out=SIZE)
    torch.testing.assert_close(sample.probabilities.data, expected, atol=2e-5, rtol=1e-4)
    assert sample.gt_sem_seg.data.shape == (1, *SIZE)


def test_batches_of_several_images(world):
    model = tiny.randomised(tiny.build(tiny.small(num_classes=19)))
    averaged = MODELS.build(dict(type='AveragedViews', module=model)).eval()
    views = dataset(world, [dict(type='AugmentedViews', transforms=paper_pipeline(), scales=SCALES)])
    together = averaged.test_step(pseudo_collate([views[0], views[1]]))
    for index, sample in enumerate(together):
        single = averaged.test_step(pseudo_collate([views[index]]))[0]
        torch.testing.assert_close(sample.probabilities.data, single.probabilities.data)
        assert sample.img_path == single.img_path


@on_devices
def test_on_every_device(world, device):
    model = tiny.randomised(tiny.build(tiny.small(num_classes=19)))
    averaged = MODELS.build(dict(type='AveragedViews', module=model)).eval()
    batch = pseudo_collate([dataset(world, [dict(type='AugmentedViews', transforms=paper_pipeline())])[0]])
    expected = averaged.test_step(batch)[0].probabilities.data
    actual = averaged.to(device).test_step(batch)[0].probabilities.data
    assert actual.device.type == torch.device(device).type
    torch.testing.assert_close(actual.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_without_resize_the_image_itself_is_scaled():
    transform = AugmentedViews([dict(type='LoadImage'), dict(type='PackUDAInputs')], scales=(0.5, 1.0), flip=False)
    scales = [[getattr(t, 'scale_factor', None) for t in view.transforms] for view in transform.views]
    assert scales == [[None, (0.5, 0.5), None], [None, None]]


def test_a_factor_for_each_side_is_scaled():
    pipeline = [dict(type='LoadImage'), dict(type='Resize', scale_factor=(0.5, 0.25)), dict(type='PackUDAInputs')]
    transform = AugmentedViews(pipeline, scales=(1.5,), flip=False)
    assert transform.views[0].transforms[1].scale_factor == (0.75, 0.375)


def test_unlabelled_images(world):
    transform = AugmentedViews(paper_pipeline(labels=False), scales=(1.0,))
    name = f'{world}/cityscapes/leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png'
    item = transform(dict(img_path=name))
    assert len(item['inputs']) == 2
    assert all('gt_sem_seg' not in sample for sample in item['data_samples'])


@pytest.mark.parametrize('scales', [(), (0.0,), (-1, 1)])
def test_wrong_scales(scales):
    with pytest.raises(ValueError, match='must be one or more numbers above 0'):
        AugmentedViews(paper_pipeline(), scales=scales)


def test_both_networks_in_one_pass_of_a_runner(world, tmp_path, monkeypatch):
    """From a checkpoint, as the test tool does it; every image is read once for all views of both networks."""
    model = tiny.randomised(tiny.build(dict(type='DACS', segmentor=tiny.small(num_classes=19))))
    model.teacher.steps.fill_(1)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'x.pth'))
    cfg = config(world, tmp_path / 'run', load_from=str(tmp_path / 'x.pth'))
    cfg.model = ConfigDict(dict(type='DACS', segmentor=tiny.small(num_classes=19)))
    cfg.test_dataloader.dataset.pipeline = paper_pipeline()
    complete_for_adaptation(cfg)
    testing.augment(cfg, SCALES)
    runner = Runner.from_cfg(cfg)
    reads = []
    cls = type(runner.test_dataloader.dataset)
    inner = cls.prepare_data
    monkeypatch.setattr(cls, 'prepare_data', lambda self, i: reads.append(i) or inner(self, i))
    metrics = runner.test()
    assert reads == list(range(VAL))
    plain = dataset(world, paper_pipeline())
    for network in ('student', 'teacher'):
        matrix = np.zeros((19, 19), int)
        for index in range(VAL):
            sample = plain[index]['data_samples']
            with torch.no_grad():
                predicted = by_hand(model.network(network), sample.img_path).argmax(0).numpy()
            label = sample.gt_sem_seg.data[0].numpy()
            np.add.at(matrix, (label[label != 255], predicted[label != 255]), 1)
        union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        expected = np.nanmean(100 * np.diag(matrix)[union > 0] / union[union > 0])
        assert metrics[f'{network}/mIoU'] == pytest.approx(expected, abs=0.2)  # a pixel or two on the border
    assert metrics['student/mIoU'] != metrics['teacher/mIoU']


def test_a_head_with_one_channel_is_refused(world):
    segmentor = tiny.small(num_classes=2)
    segmentor['decode_head'].update(out_channels=1, threshold=0.5, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True))
    segmentor.pop('auxiliary_head')
    averaged = MODELS.build(dict(type='AveragedViews', module=tiny.build(segmentor))).eval()
    views = dataset(world, [dict(type='AugmentedViews', transforms=paper_pipeline())])
    with pytest.raises(ValueError, match='out_channels=2'):
        averaged.test_step(pseudo_collate([views[0]]))
