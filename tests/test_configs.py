"""Every config of the miniature benchmark is read, built, and trains one iteration on a world of a few files.

Those of the real benchmarks are in test_real_configs.py and test_real_trainings.py.
"""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

from benchmarks.suites import load_suite, runs_of
from mmseg_camix.engine.config import is_adapted, load_config
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.models import UDASegmentor
from tests.tools_runner import ROOT, call
from tests.world import make_world

CONFIGS = sorted(path for path in (ROOT / 'configs').glob('*/*.py') if not path.parent.name.startswith('_'))
# Those from ImageNet weights are in test_photographs.py.
MINI = [path for path in CONFIGS if path.name.startswith('mini_') and '_lite' not in path.name]
BASES = sorted((ROOT / 'configs/_base_/datasets').glob('mini_*.py'))
SUITES = sorted((ROOT / 'configs/_suites_').glob('*.py'))


def name(path):
    return f'{path.parent.name}/{path.stem}'


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """The world with what some methods count beforehand."""
    root = make_world(tmp_path_factory.mktemp('prepared'))
    assert call('dataset/class_stats.py', 'cityscapes', root / 'cityscapes', '--split', 'train', '--jobs', 1) == 0
    for source in ('gta', 'synthia'):
        file = moved(ROOT / f'configs/_base_/datasets/mini_{source}2cs.py', root, root)
        out = root / 'priors' / f'{source}.npz'
        assert call('dataset/build_spatial_prior.py', file, '--out', out, '--workers', 0) == 0
    model = MODELS.build(Config.fromfile(ROOT / 'configs/source_only/mini_gta2cs_tiny.py').model)
    torch.save(dict(state_dict=model.state_dict()), root / 'source_only.pth')
    return root


def moved(path, data_root, folder):
    """The config on other data, as a file."""
    cfg = load_config(str(path), dict(data_root=str(data_root)))
    file = folder / 'moved.py'
    cfg.dump(str(file))
    return file


def test_configs_were_listed():
    assert len(MINI) >= 9
    assert BASES
    assert SUITES


def bases_of(path):
    """The files that a config inherits from."""
    bases = re.search(r"^_base_ = (\[.*?\]|'.*?')$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [path.parent / base for base in re.findall(r"'(.+?)'", bases[1])] if bases else []


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_configs_adapt_and_have_two_levels(path):
    """A method's config names its network, data and schedule files; these inherit from nothing."""
    bases = bases_of(path)
    assert {'models', 'datasets', 'schedules'} <= {base.parent.name for base in bases}
    assert [base for base in bases if bases_of(base)] == []
    cfg = Config.fromfile(path)
    assert is_adapted(cfg)
    assert {'UDAHook', 'DynamicThresholdHook'} <= {hook.type for hook in cfg.custom_hooks}
    assert cfg.custom_imports.imports == ['mmseg_camix']


@pytest.mark.parametrize('path', MINI, ids=name)
def test_one_iteration(path, prepared, tmp_path):
    cfg = load_config(str(path), dict(data_root=str(prepared)), str(tmp_path / 'run'))
    cfg.merge_from_dict({
        'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1, 'train_dataloader.batch_size': 2,
        **{f'{kind}_dataloader.{key}': value for kind in ('train', 'val', 'test')
           for key, value in (('num_workers', 0), ('persistent_workers', False))}})
    cfg.val_dataloader.dataset.indices = 1
    if 'init_cfg' in cfg.model.segmentor.backbone:
        cfg.model.segmentor.backbone.init_cfg.checkpoint = str(prepared / 'source_only.pth')
    if cfg.load_from:
        cfg.load_from = str(prepared / 'source_only.pth')
    cfg.experiment_name = f'{tmp_path.name}_{path.stem}'
    runner = Runner.from_cfg(cfg)
    assert isinstance(runner.model, UDASegmentor)
    # Both domains arrive in the size that the network is built for.
    assert tuple(cfg.crop_size) == runner.model.data_preprocessor.crop_size
    runner.train()
    record = read_record(tmp_path / 'run')
    assert record['finished']
    assert {f'{network}/mIoU' for network in runner.model.networks} <= set(record['val'][0]['metrics'])
    if runner.model.teacher is not None:
        assert runner.model.teacher.steps_made == 1


def protocol(cfg):
    """All but the method: data, network, schedule, evaluation."""
    shared = cfg.to_dict()
    for key in ('model', 'filename', 'custom_hooks', 'dsp_released'):  # the last a part of models
        shared.pop(key, None)
    branches = shared['train_dataloader']['dataset']
    if '/source_free/' in cfg.filename:  # begins with the source-only network, and moves less
        given = Config.fromfile(MINI[0])
        assert branches.pop('source') is None
        assert shared.pop('load_from').startswith('work_dirs/source_only/')
        rate, usual = shared['optim_wrapper']['optimizer'], given.optim_wrapper.optimizer.lr
        assert rate['lr'] == pytest.approx(0.01 * usual)
        rate['lr'], shared['load_from'] = usual, None
        branches['source'] = given.train_dataloader.dataset.source.to_dict()
    if cfg.filename.endswith('_oracle.py'):  # the target with its labels, instead of the source
        assert branches.pop('source')['data_root'] == branches['target']['data_root']
        branches['source'] = Config.fromfile(MINI[0]).train_dataloader.dataset.source.to_dict()
    if branches['source']['type'] == 'RareClassDataset':  # the same images, drawn otherwise
        branches['source'] = branches['source']['dataset']
    for name in set(branches) - {'type', 'source', 'target'}:  # more of the same images: donors
        assert branches['source']['ann_file'] in str(branches.pop(name))
    segmentor = cfg.model.segmentor if 'segmentor' in cfg.model else cfg.model
    # Rates of a method's own parts (a projector) are the method's; those of the network are not.
    keys = shared['optim_wrapper'].pop('paramwise_cfg', {}).get('custom_keys', {})
    names = [name for name, _ in MODELS.build(segmentor).named_parameters()]
    assert not [key for key in keys if any(key in name for name in names)]
    segmentor = segmentor.to_dict()
    if segmentor['type'] == 'HRDAEncoderDecoder':  # two scales of the same network
        segmentor['type'] = 'EncoderDecoder'
    if cfg.filename.endswith('_fd.py'):  # starts from other weights, and names them
        assert segmentor['backbone'].pop('init_cfg')['prefix'] == 'student.backbone.'
    return dict(shared, segmentor=segmentor)


@pytest.mark.parametrize('path', [path for path in MINI if 'gta2cs_tiny' in path.name], ids=name)
def test_methods_share_one_protocol(path):
    assert protocol(Config.fromfile(path)) == protocol(Config.fromfile(MINI[0]))


@pytest.mark.parametrize('path', BASES, ids=lambda path: path.stem)
def test_data_of_the_bases(path, prepared):
    """All loaders of a base deliver; the target's training labels are never opened."""
    cfg = load_config(str(path), dict(data_root=str(prepared)))
    train = DATASETS.build(dict(cfg.train_dataloader.dataset, seed=0))
    item = train[0]
    for branch in ('source', 'target'):
        assert tuple(item[branch]['inputs'].shape) == (3, *cfg.crop_size)
    assert 'gt_sem_seg' in item['source']['data_samples']
    assert 'gt_sem_seg' not in item['target']['data_samples']
    assert 'seg_map_path' not in train.datasets['target'].get_data_info(0)
    for loader in ('val_dataloader', 'test_dataloader', 'source_val_dataloader'):
        if cfg.get(loader) is not None:
            dataset = DATASETS.build(cfg[loader].dataset)
            sample = dataset[0]['data_samples']
            assert tuple(sample.gt_sem_seg.data.shape[1:]) == sample.ori_shape  # where predictions are compared
            assert len(dataset.metainfo['classes']) == 19
    if cfg.get('source_val_dataloader') is not None:
        assert not paths(train.datasets['source']) & paths(DATASETS.build(cfg.source_val_dataloader.dataset))


def paths(dataset):
    return {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_suites(path, monkeypatch):
    """Each row's config exists, and its overrides are of entries that are there."""
    monkeypatch.chdir(ROOT)
    title, rows, page, _ = load_suite(path)
    assert title
    assert (ROOT / 'docs' / page).is_file()
    for row in rows:
        assert Path(row.config).is_file(), row
    runs = runs_of(rows)
    assert len({run.key for run in runs}) == len(runs) == sum(row.seeds for row in rows)
    assert len({run.protocol for run in runs}) == len(rows), 'two rows are the same training'
