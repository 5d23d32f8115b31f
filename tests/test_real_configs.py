"""The configs of the real benchmarks: what they say, and that each trains on a world of a few files.

The networks have their real size and see small crops. MIX_FAST=1 in the environment leaves the
iterations of all but three configs out.
"""

import os

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_camix.engine.config import load_config
from mmseg_camix.models import UDASegmentor
from tests.tools_runner import ROOT, call
from tests.world import make_world

REAL = sorted(path for network in ('deeplabv2', 'daformer') for path in (ROOT / 'configs').glob(f'*/*2cs_{network}*.py')
              if not path.parent.name.startswith('_'))
FAST = ('camix/gta2cs_daformer', 'daformer/gta2cs_deeplabv2', 'dacs/synthia2cs_deeplabv2')
MODEL_BASES = sorted(path for path in (ROOT / 'configs/_base_/models').glob('*.py') if 'mini' not in path.name)
CROP = (64, 64)


def name(path):
    return f'{path.parent.name}/{path.stem}'


def read(which):
    return Config.fromfile(ROOT / f'configs/{which}.py')


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def offline(cfg):
    """Without the files of weights that the config names."""
    cfg.backbone.pop('init_cfg', None)
    if 'pretrained' in cfg.backbone:
        cfg.backbone.pretrained = False
    return cfg


def test_the_main_command_is_there():
    names = [name(path) for path in REAL]
    for method in ('source_only', 'dacs', 'camix'):
        for source in ('gta', 'synthia'):
            for network in ('deeplabv2', 'daformer'):
                assert f'{method}/{source}2cs_{network}' in names


@pytest.mark.parametrize('path', REAL, ids=name)
def test_protocol(path):
    """Sizes, batches, optimisers and lengths of the papers."""
    cfg = Config.fromfile(path)
    assert cfg.crop_size == cfg.model.segmentor.data_preprocessor.size == (512, 512)
    assert cfg.train_dataloader.batch_size == 2
    source, target = cfg.train_dataloader.dataset.source, cfg.train_dataloader.dataset.target
    rare = source.type == 'RareClassDataset'
    pipeline = source.dataset.pipeline if rare else source.pipeline
    sizes = [t.scale for p in (pipeline, target.pipeline) for t in p if t.type == 'Resize']
    assert sizes == [(1280, 760 if 'synthia' in path.name else 720), (1024, 512)]
    assert 'seg_map_path' not in target.data_prefix
    daformer = 'daformer' in path.stem
    assert any(t.type == 'RandomFlip' for t in pipeline) == daformer
    assert next(t for t in pipeline if 'Crop' in t.type).get('cat_max_ratio', 1.0) == (0.75 if daformer else 1.0)
    method = path.parent.name
    assert rare == (method == 'daformer' or (method, daformer) == ('camix', True))
    kind, rate, decay, length = ('AdamW', 6e-5, 0.01, 40000) if daformer else ('SGD', 2.5e-4, 5e-4, 250000)
    if method == 'camix':
        kind, rate, decay, length = (kind, rate, decay, 90000) if daformer else ('Adam', rate, 5e-5, length)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == (kind, rate, decay)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == length
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult == 10
    assert [t.type for t in cfg.val_dataloader.dataset.pipeline] == [
        'LoadImage', 'LoadIdLabels', 'Resize', 'EvaluateAtResizedShape', 'PackUDAInputs']


def test_camix_on_daformer_is_made_of_both():
    model = read('camix/gta2cs_daformer').model
    assert (model.type, model.teacher.alpha) == ('CAMix', 0.99)
    assert model.objectives.features == dict(type='FeatureDistance', weight=0.005)
    assert (model.pseudo_labels.ignore_top, model.pseudo_labels.ignore_bottom) == (15, 120)
    assert model.masks.context.prior == 'data/priors/gta.npz'
    assert model.segmentor.backbone.variant == 'b5'


def test_deeplabv2_in_numbers():
    cfg = read('_base_/models/deeplabv2_r101')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(offline(cfg.model))
    assert sum(p.numel() for p in model.parameters()) == 43_200_614
    # The dilated classifiers see 65x65 cells of 512 pixels; a strip of the image shows it as well.
    with torch.no_grad():
        assert tuple(model.backbone.maxpool(torch.zeros(1, 1, 256, 256)).shape[2:]) == (129, 129)
        assert tuple(model(torch.zeros(1, 3, 64, 512), None, 'tensor').shape) == (1, 19, 9, 65)
    groups = optimiser('dacs/gta2cs_deeplabv2', model).param_groups
    assert sorted((round(g['lr'], 9), sum(p.numel() for p in g['params'])) for g in groups) == [
        (2.5e-4, 42_394_816), (2.5e-3, 700_454)]


def optimiser(which, model):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return build_optim_wrapper(model, read(which).optim_wrapper).optimizer


def test_daformer_in_numbers():
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(offline(read('_base_/models/daformer_mitb5').model))
    assert sum(p.numel() for p in model.backbone.parameters()) == 81_443_008
    assert sum(p.numel() for p in model.decode_head.parameters()) == 3_712_275
    with torch.no_grad():
        assert tuple(model(torch.zeros(1, 3, 64, 96), None, 'tensor').shape) == (1, 19, 16, 24)
    groups = optimiser('daformer/gta2cs_daformer', model).param_groups
    found = sorted((round(g['lr'], 9), g['weight_decay'], sum(p.numel() for p in g['params'])) for g in groups)
    assert found == [(6e-5, 0.0, 92_800), (6e-5, 0.01, 81_350_208), (6e-4, 0.01, 3_712_275)]
    assert sum(p.numel() for g in groups for p in g['params']) == trained(model)


def test_warm_up_and_decay_multiply():
    from mmengine.optim import LinearLR, PolyLR
    kinds = dict(LinearLR=LinearLR, PolyLR=PolyLR)
    cfg = read('daformer/gta2cs_daformer')
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=6e-5)
    schedules = [kinds[one.pop('type')](optimizer, **one) for one in cfg.to_dict()['param_scheduler']]
    seen = {}
    for iteration in range(4000):
        seen[iteration] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    assert seen[0] == pytest.approx(6e-11)
    for iteration, share in ((750, 0.5), (1500, 1.0), (3900, 1.0)):
        assert seen[iteration] == pytest.approx(6e-5 * share * (1 - iteration / 40000), rel=2e-3)


@pytest.mark.parametrize('path', MODEL_BASES, ids=lambda path: path.stem)
def test_networks_of_the_bases(path):
    cfg = offline(Config.fromfile(path).model)
    if 'dinov2' in path.stem:
        cfg.backbone.arguments = dict(depth=1)  # of its 24 blocks
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg)
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, 64, 64), None, 'tensor')
    expected = dict(deeplabv2_r101=9, deeplabv2_vgg16=8, daformer_dinov2_l=20).get(path.stem, 16)
    assert tuple(logits.shape) == (1, 19, expected, expected)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """The world with what is counted beforehand."""
    root = make_world(tmp_path_factory.mktemp('real'))
    for source in ('gta', 'synthia'):
        assert call('dataset/class_stats.py', source, root / source, '--jobs', 1) == 0
        cfg = load_config(str(ROOT / f'configs/camix/{source}2cs_deeplabv2.py'), dict(data_root=str(root)))
        cfg.dump(str(root / f'{source}.py'))
        out = root / 'priors' / f'{source}.npz'
        assert call('dataset/build_spatial_prior.py', root / f'{source}.py', '--out', out, '--workers', 0) == 0
    return root


def shrunk(node):
    """Small images and crops instead of the papers'."""
    if isinstance(node, dict):
        if node.get('type') == 'Resize':
            node['scale'] = (128, 72)
        if 'crop_size' in node:
            node['crop_size'] = CROP
        if node.get('type') == 'RareClassDataset':
            node['min_pixels'] = 50
        for value in node.values():
            shrunk(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            shrunk(value)


def chosen(path):
    skipped = os.environ.get('MIX_FAST') and name(path) not in FAST
    return pytest.param(path, id=name(path), marks=pytest.mark.skipif(bool(skipped), reason='MIX_FAST'))


@pytest.mark.parametrize('path', [chosen(path) for path in REAL])
def test_one_iteration(path, prepared, tmp_path):
    cfg = load_config(str(path), dict(data_root=str(prepared)), str(tmp_path / 'run'))
    shrunk(cfg._cfg_dict)
    offline(cfg.model.segmentor)
    cfg.model.segmentor.data_preprocessor.size = CROP
    if cfg.model.segmentor.backbone.type == 'MiT':  # the real depth is built above
        cfg.model.segmentor.backbone.variant = 'b0'
        cfg.model.segmentor.decode_head.in_channels = [32, 64, 160, 256]
    else:
        cfg.model.segmentor.backbone.update(depth=18, style='pytorch')
        cfg.model.segmentor.decode_head.in_channels = 512
    if 'pseudo_labels' in cfg.model or 'DAFormer' in cfg.model.type:
        cfg.model.pseudo_labels = dict(cfg.model.get('pseudo_labels') or {}, ignore_top=2, ignore_bottom=8)
    cfg.merge_from_dict({'train_cfg.max_iters': 1, 'train_cfg.val_interval': 10, 'train_dataloader.batch_size': 2,
                         **{f'{kind}_dataloader.{key}': value for kind in ('train', 'val', 'test')
                            for key, value in (('num_workers', 0), ('persistent_workers', False))}})
    cfg.default_hooks.pop('checkpoint')
    cfg.experiment_name = f'{tmp_path.name}_{path.parent.name}_{path.stem}'
    runner = Runner.from_cfg(cfg)
    before = [p.clone() for p in runner.model.student.decode_head.parameters()]
    runner.train()
    assert isinstance(runner.model, UDASegmentor)
    after = list(runner.model.student.decode_head.parameters())
    assert all(torch.isfinite(p).all() for p in after)
    assert any(not torch.equal(p, q) for p, q in zip(before, after))
