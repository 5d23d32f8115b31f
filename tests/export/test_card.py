"""The model card of an export."""

import hashlib
import json
import shlex
import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmseg_camix_tools.export.card import CARD, commands, write_card
from mmseg_camix_tools.export.files import open_network
from tests.export.networks import deeplab, trained, without_weights
from tests.models import tiny
from tests.tools_runner import call

CLASSES = ('road', 'sky|line\nbreak\x1b', '<img src=x>', *(f'class {index}' for index in range(16)))
LOG = ("2026/01/01 00:00:00 - mmengine - INFO - Command (mmseg_camix 0.1.0): python {program} configs/own.py --seed 3 "
       "--cfg-options data_root=/home/somebody/data/gta\n")


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A checkpoint in a work folder with a log and scores of iterations 5 and 7."""
    folder = tmp_path_factory.mktemp('run')
    path, _ = trained(folder, deeplab())
    text = Config.fromfile(folder / 'config.py').pretty_text
    meta = dict(iter=7, seed=3, experiment_name='own_20260101_000000', cfg=text, dataset_meta=dict(
        classes=CLASSES, palette=[[0, 0, 0]] * 19))
    path, _ = trained(folder, deeplab(), meta=meta)
    metrics = {'mIoU': 40.0, 'student/mIoU': 40.0, 'student/IoU.road': 80.0, 'student/IoU.car': 0.5,
               'teacher/mIoU': 30.0, 'teacher/IoU.road': 60.0}
    val = [dict(iteration=5, metrics={name: 1.0 for name in metrics}), dict(iteration=7, metrics=metrics)]
    (folder / 'metrics.json').write_text(json.dumps(dict(val=val, finished=True)))
    (folder / '1').mkdir()
    (folder / '1/1.log').write_text(LOG.format(program='/home/somebody/tools/train.py') + LOG.format(program='again'))
    return path


@pytest.mark.parametrize(('options', 'own', 'others', 'export'), [
    (['--student'], ['| 40.00 |', '| % | 80.0 | 0.5 |', 'Not learned (IoU below 1 %): car.'], '30.00', ' --student'),
    ([], ['| 30.00 |', '| % | 60.0 |'], '40.00', '')])
def test_a_card_has_what_was_recorded_about_the_network(checkpoint, tmp_path, options, own, others, export):
    assert call('export', checkpoint, *options, '--out', tmp_path / 'out', '--terms', 'Apache-2.0; GTA: research') == 0
    card = (tmp_path / 'out' / CARD).read_text()
    assert card.startswith(f'# own: {"student" if export else "teacher"} of DACS, iteration 7')
    for text in (*own, '| data, source | GTADataset, gta |', '| data, target | RawCityscapesDataset, cityscapes |',
                 '| seed | 3 |', '| terms | Apache-2.0; GTA: research |',
                 'road, sky|line break\\x1b, &lt;img src=x>, class 0',
                 'mmseg-camix train configs/own.py --seed 3 --cfg-options data_root=gta  # mmseg_camix 0.1.0\n'
                 f'mmseg-camix export iter_7.pth{export} --out exported\n'):
        assert text in card
    assert others not in card
    assert 'somebody' not in card
    for name in ('config.py', 'model.pth'):
        data = (tmp_path / 'out' / name).read_bytes()
        assert f'| {name} | {len(data)} | {hashlib.sha256(data).hexdigest()} |' in card


def test_a_card_states_what_is_not_known(tmp_path):
    path, _ = trained(tmp_path, deeplab())
    assert call('export', path) == 0
    card = (tmp_path / 'export_teacher' / CARD).read_text()
    assert card.startswith('# iter_7: teacher of DACS')
    assert 'No scores were recorded at this iteration.' in card
    assert '| terms | not stated' in card


OWN = dict(model=deeplab(), train_dataloader=dict(dataset=dict(type='MyData', data_root='/home/somebody/photos')))


@pytest.mark.parametrize(('own', 'given', 'expected'), [
    (None, False, {}),
    (OWN, False, dict(data=dict(training='MyData, photos'), crop=[64, 48])),
    (None, True, dict(data=dict(source='GTADataset, gta', validation='RawCityscapesDataset, cityscapes'),
                      crop=[64, 48]))], ids=['nothing is known', 'the checkpoint has a config', 'the given config'])
def test_only_the_config_of_its_training_describes_a_network(tmp_path, own, given, expected):
    """A config of SourceOnly with a target, and a plain network; the method loads the target without training on it."""
    trained(tmp_path, deeplab(), method='SourceOnly')
    if own:
        own = Config(own)
        own.model.data_preprocessor.size = (64, 48)
    path = tmp_path / 'given.pth'
    torch.save(dict(state_dict=tiny.build(without_weights(deeplab())).state_dict(),
                    meta=dict(cfg=own.pretty_text) if own else {}), path)
    config = Config.fromfile(tmp_path / 'config.py')
    config.model.segmentor.data_preprocessor.size = (64, 48)
    config.dump(str(tmp_path / 'config.py'))
    network = open_network(path, str(tmp_path / 'config.py'), 'tested', trained_with_config=given)
    assert network.training == expected
    assert network.origin['method'] == ('SourceOnly' if given else None)
    write_card(network, path, tmp_path)
    assert ('Trained on crops of 48x64 (width x height)' in (tmp_path / CARD).read_text()) == bool(expected)


@pytest.mark.parametrize(('logged', 'words'), [
    (['python', '/x/tools/train.py', '/home/somebody/secret client/own.py', '--work-dir=/home/somebody/w/'],
     ['own.py', '--work-dir=w/']),
    (['mmseg-camix', 'train', 'a.py'], ['a.py']),
    (['python', 'mmseg-camix train', 'a.py', '--cfg-options', "roots=['/home/somebody/a, b/x','/home/somebody/y']",
      'n=/a/b/c'], ['a.py', '--cfg-options', "roots=['x','y']", 'n=c']),
    (['python', 'train.py', 'a.py; rm -rf $HOME', '`id`'], ['a.py; rm -rf $HOME', '`id`']),
    (['python', '/bin/other.py', 'a.py'], None), (['mmseg-camix', 'test', 'a.py'], None), (['python'], None)])
def test_recorded_commands_are_quoted_words_without_folders(tmp_path, logged, words):
    (tmp_path / '1').mkdir()
    head = 'x - INFO - Command (mmseg_camix 1.0): '
    (tmp_path / '1/1.log').write_text(f"{head}python 'train.py\n{head}{shlex.join(logged)}\n")
    *training, export, _ = commands(SimpleNamespace(name='student'), tmp_path / 'the best; rm -rf $HOME.pth')
    expected = [] if words is None else [['mmseg-camix', 'train', *words]]
    assert [shlex.split(line, comments=True) for line in training] == expected
    assert shlex.split(export)[2:] == ['the best; rm -rf $HOME.pth', '--student', '--out', 'exported']


def test_long_recorded_commands_take_no_long_time(tmp_path):
    (tmp_path / '1').mkdir()
    for part in ('/]', '/-', '/,', '/ ', ','):
        (tmp_path / '1/1.log').write_text(f"Command (mmseg_camix 1.0): mmseg-camix train '{part * 50_000}'\n")
        start = time.process_time()
        commands(SimpleNamespace(name='teacher'), tmp_path / 'a.pth')
        assert time.process_time() - start < 5, part
