"""The command lines of training and testing."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_camix.engine.config import load_config
from mmseg_camix.engine.hooks.record_hook import read_record
from tests.models import tiny
from tests.tools_runner import ROOT, call
from tests.world import VAL, config


@pytest.fixture(scope='module')
def trained(world, tmp_path_factory):
    """A config file and the work folder of a training with it."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = config(world, folder / 'x', segmentor=tiny.small(num_classes=19, dropout=0.0), max_iters=2, val_interval=2)
    cfg.source_val_dataloader = dict(cfg.val_dataloader, dataset=dict(
        type='GTADataset', data_root=f'{world}/gta', ann_file='val.txt', test_mode=True,
        pipeline=cfg.val_dataloader.dataset.pipeline))
    cfg.dump(str(folder / 'cfg.py'))
    assert call('train.py', folder / 'cfg.py', '--work-dir', folder / 'run') == 0
    return folder


@pytest.mark.parametrize('tool', ['test.py', 'export.py', 'predict.py'])
def test_the_checkpoint_in_a_help_is_where_a_training_puts_it(tool, capsys):
    call(tool, '--help')
    work_dir = load_config(str(ROOT / 'configs/dacs/mini_gta2cs_tiny.py')).work_dir
    assert f'{work_dir}/iter_1200.pth' in capsys.readouterr().out


def test_training_leaves_its_record(trained):
    files = {path.name for path in (trained / 'run').iterdir()}
    assert {'iter_2.pth', 'last_checkpoint', 'metrics.json', 'resolved_config.py'} <= files
    assert read_record(trained / 'run')['finished']


def test_testing_gives_the_numbers_of_the_last_validation_and_of_other_dataloaders(trained, tmp_path):
    arguments = [trained / 'cfg.py', trained / 'run/iter_2.pth', '--work-dir', tmp_path]
    validated = read_record(trained / 'run')['val'][-1]['metrics']
    assert call('test.py', *arguments) == 0
    assert read_record(tmp_path)['test'] == pytest.approx(validated)
    assert call('test.py', *arguments, '--dataloader', 'source_val_dataloader') == 0
    assert read_record(tmp_path)['test'] != pytest.approx(validated)
    message = call('test.py', *arguments, '--dataloader', 'sauce_val_dataloader')
    assert 'has no dataloader sauce_val_dataloader; it has: ' in message
    assert 'source_val_dataloader' in message


def test_a_checkpoint_of_another_network_is_refused(trained, tmp_path):
    cfg = Config.fromfile(trained / 'cfg.py')
    cfg.model.segmentor = tiny.small(num_classes=19, dropout=0.0)
    cfg.model.segmentor.decode_head.channels = 12
    cfg.dump(str(tmp_path / 'other.py'))
    message = call('test.py', tmp_path / 'other.py', trained / 'run/iter_2.pth', '--work-dir', tmp_path)
    assert 'iter_2.pth: it is of another network: ' in message
    assert 'decode_head' in message
    plain = torch.load(trained / 'run/iter_2.pth')['state_dict']
    plain = {key.removeprefix('student.'): value for key, value in plain.items() if key.startswith('student.')}
    torch.save(dict(state_dict=plain), tmp_path / 'plain.pth')
    assert call('test.py', trained / 'cfg.py', tmp_path / 'plain.pth', '--work-dir', tmp_path) == 0


def test_saved_predictions_are_those_of_the_network_that_predicts(trained, tmp_path):
    """Both networks are evaluated and write the same files; the one that the method is tested with stays."""
    for network in ('student', 'teacher'):
        out = tmp_path / network
        assert call('test.py', trained / 'cfg.py', trained / 'run/iter_2.pth', '--work-dir', tmp_path / 'work',
                    '--out', out, '--cfg-options', f'model.predict_with={network}') == 0
        assert len(list(out.glob('*.png'))) == VAL
    cfg = Config.fromfile(trained / 'cfg.py')
    model = tiny.build(cfg.model).eval()
    model.load_state_dict(torch.load(trained / 'run/iter_2.pth', weights_only=True)['state_dict'])
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, _scope_='mmseg'))
    for network in ('student', 'teacher'):
        model.predict_with = network
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[0]]))[0]
        saved = np.array(Image.open(tmp_path / network / sample.img_path.split('/')[-1]))
        np.testing.assert_array_equal(saved, sample.pred_sem_seg.data[0].numpy())


def test_options_reach_the_config(trained, tmp_path):
    assert call('train.py', trained / 'cfg.py', '--work-dir', tmp_path / 'run', '--seed', 7, '--cfg-options',
                'train_cfg.max_iters=1', 'model.teacher.alpha=0.5', 'model.masks.classes.ratio=0.25') == 0
    assert not (tmp_path / 'run/iter_2.pth').exists()
    dumped = Config.fromfile(tmp_path / 'run/cfg.py')
    assert (dumped.randomness.seed, dumped.model.teacher.alpha) == (7, 0.5)
    assert (dumped.model.masks.classes.ratio, dumped.train_cfg.max_iters) == (0.25, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about machines without a GPU')
def test_amp_on_a_cpu(trained):
    assert 'amp=fp16 needs a GPU' in call('train.py', trained / 'cfg.py', '--amp')


def test_a_plain_model_through_the_tools(world, tmp_path):
    cfg = config(world, tmp_path / 'x', method=None, max_iters=1, val_interval=1, custom_hooks=[
        dict(type='RecordMetricsHook')], val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'))
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.source
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.dump(str(tmp_path / 'cfg.py'))
    assert call('train.py', tmp_path / 'cfg.py', '--work-dir', tmp_path / 'run') == 0
    assert 'mIoU' in read_record(tmp_path / 'run')['val'][0]['metrics']
