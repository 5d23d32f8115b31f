"""Reading and completing configs."""

import pytest
from mmengine.config import Config

from mmseg_camix.engine.config import (
    ConfigError,
    change_crop_size,
    complete_for_adaptation,
    is_adapted,
    load_config,
    move_data_root,
)
from mmseg_camix.models.uda.methods import DACS
from tests.tools_runner import ROOT

ADDED = dict(run_folder=dict(type='RunFolderHook'), nonfinite=dict(type='NonFiniteHook'),
             collapse=dict(type='CollapseHook'))
TEXT = """
data_root = 'data/mini'
lr = 0.1
model = dict(type='DACS', segmentor=dict(type='EncoderDecoder'))
train_dataloader = dict(dataset=dict(
    source=dict(data_root=data_root + '/gta', others=[dict(prior=data_root + '/stats.json'), 'data/mini']),
    target=dict(data_root='elsewhere/data/mini', near='data/miniature/x', root=data_root)))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'folder' / 'name.py'
    path.parent.mkdir()
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize('root', ['/new', '/new/', 'relative/new'])
def test_data_root_reaches_every_data_set(file, root):
    data = load_config(file, dict(data_root=root, lr=0.5))
    new = root.rstrip('/')
    sets = data.train_dataloader.dataset
    assert data.data_root == new
    assert sets.source.data_root == f'{new}/gta'
    assert sets.source.others[0].prior == f'{new}/stats.json'
    assert sets.target.root == new
    assert sets.target.near == 'data/miniature/x'  # begins alike, and is another folder
    assert sets.target.data_root == 'elsewhere/data/mini'
    assert data.lr == 0.5


def test_moving_twice():
    cfg = Config(dict(data_root='a', x=dict(data_root='a/b')))
    move_data_root(cfg, 'c')
    move_data_root(cfg, 'd/e')
    assert (cfg.data_root, cfg.x.data_root) == ('d/e', 'd/e/b')
    with pytest.raises(ConfigError, match='no data_root to change'):
        move_data_root(Config(dict(x=1)), 'c')


def crops_of(node):
    """Every `crop_size` and `size` of a config, as tuples."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        if key == 'crop_size' or (key == 'size' and isinstance(value, (list, tuple))):
            yield tuple(value)
        else:
            yield from crops_of(value)


@pytest.mark.parametrize('name', [
    'dsp/gta2cs_daformer', 'dsp/synthia2cs_deeplabv2_official', 'daformer/gta2cs_daformer', '_base_/own_data',
    'camix/mini_gta2cs_tiny_daformer', 'dacs/cityscapes2acdc_daformer', 'source_only/synthia2cs_deeplabv2'])
def test_crop_size_reaches_every_crop(name):
    path = str(ROOT / f'configs/{name}.py')
    before, after = (list(crops_of(load_config(path, options).to_dict())) for options in ({}, dict(crop_size=[64, 80])))
    assert len(before) == len(after) >= 4  # the variable, two pipelines, the preprocessor
    assert set(after) == {(64, 80)}


@pytest.mark.parametrize('old', [(8, 8), 8])
def test_crop_size_leaves_the_sliding_window_and_other_crops_alone(old):
    cfg = Config(dict(crop_size=old, model=dict(
        test_cfg=dict(mode='slide', crop_size=(8, 8)), data_preprocessor=dict(mean=[0], size=(8, 8)),
        pool=dict(size=(8, 8))), pipelines=[[dict(type='A', crop_size=old)], [dict(type='A', crop_size=(4, 4))]]))
    change_crop_size(cfg, 6)
    assert cfg.model.test_cfg.crop_size == (8, 8) and cfg.model.pool.size == (8, 8)
    assert cfg.model.data_preprocessor.size == cfg.crop_size == cfg.pipelines[0][0].crop_size == (6, 6)
    assert cfg.pipelines[1][0].crop_size == (4, 4)


@pytest.mark.parametrize('size', [0, [8], [8, 8, 8], '8x8', [8, -1]])
def test_a_wrong_crop_size(size):
    with pytest.raises(ConfigError, match='must be one number of pixels, or height,width'):
        change_crop_size(Config(dict(crop_size=(8, 8))), size)
    with pytest.raises(ConfigError, match='no crop_size to change'):
        change_crop_size(Config(dict(x=1)), 8)


def test_a_wrong_path():
    with pytest.raises(ConfigError, match='no config at configs/nothing.py; .* mmseg_camix::camix/'):
        load_config('configs/nothing.py')
    with pytest.raises(ConfigError, match=r'README.md is not a config; the name of a config ends in \.py'):
        load_config(str(ROOT / 'README.md'))


def test_work_folder(file):
    assert load_config(file).work_dir == 'work_dirs/folder/name'
    assert load_config(file, work_dir='there').work_dir == 'there'
    options = dict(work_dir='mine')
    assert load_config(file, options).work_dir == 'mine'
    assert options == dict(work_dir='mine'), 'options are left as they are'


@pytest.mark.parametrize(('model', 'adapted'), [
    (dict(type='DACS'), True), (dict(type=DACS), True), (dict(type='SourceOnly'), True),
    (dict(type='mmseg.DACS'), True),
    (dict(type='EncoderDecoder'), False), (dict(type='Unknown'), False), (dict(), False)])
def test_is_adapted(model, adapted):
    assert is_adapted(Config(dict(model=model))) is adapted


def test_completion():
    cfg = Config(dict(model=dict(type='DACS'), val_cfg=dict(type='ValLoop', fp16=True), test_cfg=dict(),
                      custom_hooks=[dict(type='EMAHook')]))
    complete_for_adaptation(cfg)
    complete_for_adaptation(cfg)  # once is enough
    assert [hook.type for hook in cfg.custom_hooks] == ['EMAHook', 'UDAHook']
    assert cfg.val_cfg == dict(type='TeacherStudentValLoop', fp16=True)
    assert cfg.test_cfg == dict(type='TeacherStudentTestLoop')
    bare = Config(dict(model=dict(type='DACS'), val_cfg=None))
    complete_for_adaptation(bare)
    assert ([hook.type for hook in bare.custom_hooks], bare.val_cfg) == (['UDAHook'], None)


@pytest.mark.parametrize(('given', 'hooks'), [
    (None, ADDED),
    (dict(timer=dict(type='IterTimerHook'), nonfinite=dict(max_total=7), collapse=None, live=dict(interval=3)),
     dict(timer=dict(type='IterTimerHook'), nonfinite=dict(type='NonFiniteHook', max_total=7),
          live=dict(type='LiveViewHook', interval=3), run_folder=ADDED['run_folder'])),
    (dict(live=None, collapse=None, run_folder=None, nonfinite=dict(type='A')), dict(nonfinite=dict(type='A')))])
def test_hooks_by_name(given, hooks):
    cfg = Config(dict(model=dict(type='DACS'), default_hooks=given))
    complete_for_adaptation(cfg)
    assert cfg.default_hooks == hooks


def test_custom_hooks_are_not_doubled():
    own = [dict(type='UDAHook'), dict(type='NonFiniteHook', max_total=3)]
    cfg = Config(dict(model=dict(type='DACS'), custom_hooks=own))
    complete_for_adaptation(cfg)
    assert cfg.custom_hooks == own
    assert cfg.default_hooks == {name: ADDED[name] for name in ('run_folder', 'collapse')}


def test_completion_leaves_own_loops_and_plain_models_alone():
    own = Config(dict(model=dict(type='DACS'), custom_hooks=[dict(type='UDAHook')], val_cfg=dict(type='MyLoop'),
                      default_hooks=ADDED))
    before = own.to_dict()
    complete_for_adaptation(own)
    assert own.to_dict() == before
    plain = Config(dict(model=dict(type='EncoderDecoder'), val_cfg=dict(type='ValLoop')))
    before = plain.to_dict()
    complete_for_adaptation(plain)
    assert plain.to_dict() == before
