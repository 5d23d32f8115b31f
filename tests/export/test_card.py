"""The model card of an export."""

import hashlib
import json

import pytest
from mmengine.config import Config

from mmseg_camix_tools.export.card import CARD
from tests.export.networks import deeplab, trained
from tests.tools_runner import call

CLASSES = ('road', 'sky|line\nbreak\x1b', *(f'class {index}' for index in range(17)))
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
                 '| seed | 3 |', '| terms | Apache-2.0; GTA: research |', 'road, sky|line break\\x1b, class 0',
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
