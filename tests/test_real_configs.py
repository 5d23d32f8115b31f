"""The configs of the real benchmarks: what they say. That each trains is in test_real_trainings.py."""

import inspect

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, PolyLR, build_optim_wrapper
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image

from mmseg_camix.datasets import RareClassDataset
from tests.test_configs import name
from tests.tools_runner import ROOT

REAL = sorted(path for network in ('deeplabv2', 'daformer') for path in (ROOT / 'configs').glob(f'*/*2cs_{network}*.py')
              if not path.parent.name.startswith('_')
              and path.parent.name not in ('hrda', 'source_free'))  # of two scales, of other data and schedules
BUILT = ('mini', 'deeplabv2_r101', 'daformer_mitb5')  # by other tests
MODEL_BASES = sorted(path for path in (ROOT / 'configs/_base_/models').glob('*.py')
                     if not any(name in path.name for name in BUILT))


def read(which):
    return Config.fromfile(ROOT / f'configs/{which}.py')


def count(parameters):
    return sum(p.numel() for p in parameters)


def offline(cfg):
    """Without the files of weights that the config names."""
    cfg.backbone.pop('init_cfg', None)
    if 'pretrained' in cfg.backbone:
        cfg.backbone.pretrained = False
    return cfg


def test_every_method_has_both_pairs_and_both_networks():
    names = [name(path) for path in REAL]
    for method in ('source_only', 'dacs', 'camix', 'dsp', 'rccr', 'daformer'):
        for source in ('gta', 'synthia'):
            for network in ('deeplabv2', 'daformer'):
                assert f'{method}/{source}2cs_{network}' in names
            # The released code of the DACS family, of which DAFormer is not part.
            assert method == 'daformer' or f'{method}/{source}2cs_deeplabv2_official' in names


@pytest.mark.parametrize('path', REAL, ids=name)
def test_data_of_the_papers(path):
    cfg = Config.fromfile(path)
    assert cfg.crop_size == cfg.model.segmentor.data_preprocessor.size == (512, 512)
    assert cfg.train_dataloader.batch_size == 2
    source, target = cfg.train_dataloader.dataset.source, cfg.train_dataloader.dataset.target
    daformer = 'daformer' in path.stem
    rare = path.parent.name == 'daformer' or (path.parent.name in ('camix', 'mic') and daformer)
    assert rare == (source.type == 'RareClassDataset')
    pipeline = source.dataset.pipeline if rare else source.pipeline
    sizes = [t.scale for p in (pipeline, target.pipeline) for t in p if t.type == 'Resize']
    assert sizes == [(1280, 760 if 'synthia' in path.name else 704 if daformer else 720), (1024, 512)]
    assert 'seg_map_path' not in target.data_prefix
    assert not any('cat_max_ratio' in t for t in target.pipeline)
    assert any(t.type == 'RandomFlip' for t in pipeline) == daformer
    assert next(t for t in pipeline if 'Crop' in t.type).get('cat_max_ratio', 1.0) == (0.75 if daformer else 1.0)
    if rare:
        bound = inspect.signature(RareClassDataset).bind(**{k: v for k, v in source.items() if k != 'type'})
        bound.apply_defaults()
        sampling = [bound.arguments[name] for name in ('temperature', 'min_pixels', 'crop_share', 'tries')]
        assert sampling == [0.01, 3000, 0.5, 10]
    assert [t.type for t in cfg.val_dataloader.dataset.pipeline] == (
        ['LoadImage', 'Resize', 'LoadIdLabels', 'PackUDAInputs'] if daformer else
        ['LoadImage', 'LoadIdLabels', 'Resize', 'EvaluateAtResizedShape', 'PackUDAInputs'])


@pytest.mark.parametrize('path', REAL, ids=name)
def test_network_and_schedule_of_the_papers(path):
    cfg = Config.fromfile(path)
    method, official, daformer = path.parent.name, path.stem.endswith('_official'), 'daformer' in path.stem
    expected = read(f'_base_/models/{"daformer_mitb5" if daformer else "deeplabv2_r101"}').model
    if method == 'rccr' and not daformer:
        expected.backbone.init_cfg.checkpoint = 'pretrained/resnet101_imagenet.pth'
    assert cfg.model.segmentor == expected
    kind, rate, decay, length = ('AdamW', 6e-5, 0.01, 40000) if daformer else ('SGD', 2.5e-4, 5e-4, 250000)
    if method == 'camix' and not official:
        kind, rate, decay, length = (kind, rate, decay, 90000) if daformer else ('Adam', rate, 5e-5, length)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (kind, rate, decay)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == length
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult == 10
    assert cfg.optim_wrapper.constructor == ('ReleasedFamilyConstructor' if official else 'GroupedConstructor')
    assert optimizer.get('betas', (0.9, 0.999)) == (0.9, 0.999)
    assert optimizer.get('momentum') == (0.9 if kind == 'SGD' else None)
    warm_up, poly = [s for s in cfg.param_scheduler if s.type == 'LinearLR'], cfg.param_scheduler[-1]
    assert [(s.start_factor, s.begin, s.end) for s in warm_up] == ([(1e-6, 0, 1500)] if daformer else [])
    assert (poly.type, poly.power, poly.eta_min, poly.begin) == ('PolyLR', 1.0 if daformer else 0.9, 0.0, 0)


@pytest.mark.parametrize('source', ['gta', 'synthia'])
@pytest.mark.parametrize(('network', 'antialiased'), [('deeplabv2', True), ('daformer', False)])
def test_resize_of_target_and_test_images(source, network, antialiased):
    """Pillow's with DeepLabV2, as in the code of the DACS family; OpenCV's with DAFormer."""
    cfg = read(f'dacs/{source}2cs_{network}')
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    expected = (np.asarray(Image.fromarray(image).resize((64, 32), Image.Resampling.BILINEAR)) if antialiased else
                cv2.resize(image, (64, 32)))
    for dataset in (cfg.train_dataloader.dataset.target, cfg.test_dataloader.dataset):
        resize = TRANSFORMS.build(dict(next(t for t in dataset.pipeline if t.type == 'Resize'), scale=(64, 32)))
        np.testing.assert_array_equal(resize(dict(img=image))['img'], expected)


@pytest.mark.parametrize(('base', 'mean', 'std', 'bgr_to_rgb'), [
    ('deeplabv2_r101', [104.00698793, 116.66876762, 122.67891434], [1.0] * 3, False),
    ('daformer_mitb5', [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], True)])
def test_images_are_normalised_as_for_the_weights(base, mean, std, bgr_to_rgb):
    """BGR without a deviation is caffe's, RGB ImageNet's."""
    given = read(f'_base_/models/{base}').model.data_preprocessor
    assert (given.mean, given.std, given.bgr_to_rgb) == (mean, std, bgr_to_rgb)


def test_camix_on_daformer_is_made_of_both():
    model = read('camix/gta2cs_daformer').model
    assert model.type == 'CAMix'
    assert model.objectives.features == dict(type='FeatureDistance', weight=0.005)
    assert (model.pseudo_labels.ignore_top, model.pseudo_labels.ignore_bottom) == (15, 120)
    assert model.masks.context.prior == 'data/priors/gta.npz'
    assert model.segmentor.backbone.variant == 'b5'


def optimiser(which, model):
    return build_optim_wrapper(model, read(which).optim_wrapper).optimizer


def test_deeplabv2_in_numbers():
    model = MODELS.build(offline(read('_base_/models/deeplabv2_r101').model))
    assert count(model.parameters()) == 43_200_614
    # The dilated classifiers see 65x65 cells of 512 pixels; a strip of the image shows it as well.
    with torch.no_grad():
        assert tuple(model.backbone.maxpool(torch.zeros(1, 1, 256, 256)).shape[2:]) == (129, 129)
        assert tuple(model(torch.zeros(1, 3, 64, 512), None, 'tensor').shape) == (1, 19, 9, 65)
    groups = optimiser('dacs/gta2cs_deeplabv2', model).param_groups
    assert sorted((round(g['lr'], 9), count(g['params'])) for g in groups) == [
        (2.5e-4, 42_394_816), (2.5e-3, 700_454)]


def test_daformer_in_numbers():
    model = MODELS.build(offline(read('_base_/models/daformer_mitb5').model))
    assert count(model.backbone.parameters()) == 81_443_008
    assert count(model.decode_head.parameters()) == 3_712_275
    assert model.decode_head.dropout_ratio == 0.1
    with torch.no_grad():
        assert tuple(model(torch.zeros(1, 3, 64, 96), None, 'tensor').shape) == (1, 19, 16, 24)
    groups = optimiser('daformer/gta2cs_daformer', model).param_groups
    assert sorted((round(g['lr'], 9), g['weight_decay'], count(g['params'])) for g in groups) == [
        (6e-5, 0.0, 92_800), (6e-5, 0.01, 81_350_208), (6e-4, 0.01, 3_712_275)]
    assert sum(count(g['params']) for g in groups) == count(p for p in model.parameters() if p.requires_grad)


def test_warm_up_and_decay_multiply():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=6e-5)
    kinds = dict(LinearLR=LinearLR, PolyLR=PolyLR)
    schedules = [kinds[schedule.pop('type')](optimizer, **schedule)
                 for schedule in read('daformer/gta2cs_daformer').to_dict()['param_scheduler']]
    rates = []
    for _ in range(4000):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    assert rates[0] == pytest.approx(6e-11)
    for iteration, share in ((750, 0.5), (1500, 1.0), (3900, 1.0)):
        assert rates[iteration] == pytest.approx(6e-5 * share * (1 - iteration / 40000), rel=2e-3)


@pytest.mark.parametrize(('which', 'valid_only'), [('dacs/gta2cs_deeplabv2', True), ('dacs/gta2cs_daformer', False),
                                                  ('_base_/models/segformer_mitb5', False)])
def test_whose_mean_the_source_loss_is(which, valid_only):
    """Over labelled pixels in the DACS family; over all, as its code computes it, on DAFormer's host."""
    cfg = read(which).model
    head = cfg.segmentor.decode_head if 'segmentor' in cfg else cfg.decode_head
    loss = MODELS.build(head.loss_decode)
    torch.manual_seed(0)
    logits, label = torch.randn(1, 19, 6, 6), torch.randint(0, 19, (1, 6, 6))
    label[:, :2] = 255
    each = -logits.log_softmax(1).gather(1, label.where(label < 255, 0)[:, None])[:, 0]
    expected = each[label < 255].sum() / (24 if valid_only else 36)
    torch.testing.assert_close(loss(logits, label, ignore_index=255), expected)


@pytest.mark.parametrize('path', MODEL_BASES, ids=lambda path: path.stem)
def test_networks_of_the_bases(path):
    cfg = offline(Config.fromfile(path).model)
    if 'dinov2' in path.stem:
        cfg.backbone.arguments = dict(depth=1)  # of its 24 blocks
    with torch.no_grad():
        logits = MODELS.build(cfg)(torch.zeros(1, 3, 64, 64), None, 'tensor')
    side = 20 if 'dinov2' in path.stem else dict(deeplabv2_vgg16=8).get(path.stem, 16)
    assert tuple(logits.shape) == (1, cfg.decode_head.num_classes, side, side)
