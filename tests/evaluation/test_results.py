"""Results as data and as tables, and the options of the test tool that write them."""

import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS

from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.evaluation.reported import rows
from mmseg_camix.evaluation.results import OTHER_IMAGES, compare_means, is_comparable, markdown, networks_of, result_of
from tests.models import tiny
from tests.tools_runner import call
from tests.world import VAL, config

EVALUATION = dict(resolution='input', inference='images at 1024x512, whole', scales=None, flip=False)


def a_result(tmp_path, row='dsp-synthia', images=500, shift=1.0, tested_with='student'):
    """The student is `shift` better than the row in each class, the teacher twice as much."""
    reported = rows()[row]
    metrics = {f'{name}/{key}': value for by, name in ((shift, 'student'), (2 * shift, 'teacher'))
               for key, value in [('mIoU', np.mean(reported.IoU) + by),
                                  *((f'IoU.{cls}', iou + by) for cls, iou in reported.per_class.items())]}
    checkpoint = tmp_path / 'iter_9.pth'
    checkpoint.write_bytes(b'weights')
    return result_of({**metrics, 'mIoU': 1.0}, 'configs/x.py', {'model.a': None}, str(checkpoint),
                     dict(type='RawCityscapesDataset', images=images, size='2048x1024'), reported.classes, EVALUATION,
                     tested_with, row)


def test_metrics_are_nested_by_network():
    metrics = {'student/mIoU': 1.234, 'student/IoU.traffic light': 5.0, 'teacher/mIoU': 2.0, 'mIoU': 2.0}
    assert networks_of(metrics) == dict(student={'mIoU': 1.23, 'IoU': {'traffic light': 5.0}},
                                        teacher={'mIoU': 2.0, 'IoU': {}})
    plain = {'mIoU': 3.0, 'IoU.sky': 4.0, 'IoU.car/bus': 2.0, 'unsupervised/infomax': 1.0}
    assert networks_of(plain) == dict(network={'mIoU': 3.0, 'IoU': {'sky': 4.0, 'car/bus': 2.0}})


def test_a_result_is_plain_data(tmp_path):
    result = a_result(tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result['checkpoint'] == dict(
        file='iter_9.pth', sha256='9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c')
    assert result['options'] == {'model.a': 'None'}


def test_differences_are_over_the_classes_of_the_row(tmp_path):
    """DSP prints 63.8 over 13 classes where its row's mean is 59.92; ours is compared with the printed one."""
    result, row = a_result(tmp_path), rows()['dsp-synthia']
    means = compare_means(result, row)
    assert means[16] == (pytest.approx(52.05, abs=0.01), 51.0)
    assert means[13] == (pytest.approx(60.92, abs=0.01), 63.8)
    text = markdown(result, row)
    assert '| mIoU, 13 classes | 60.92 | 61.92 | 63.8 | -2.88 |' in text
    assert '| traffic light | 32.60 | 33.60 | 31.6 | +1.00 |' in text
    assert 'The paper prints 63.8 over 13 classes; the mean of its own row is 59.92.' in text
    assert OTHER_IMAGES not in text
    assert '| IoU (%) | student | teacher | DSP, Table 2 | student - paper |' in text


def test_the_tested_network_is_what_is_compared(tmp_path):
    row = rows()['dsp-synthia']
    result = a_result(tmp_path, tested_with='teacher')
    assert compare_means(result, row)[16][0] == pytest.approx(53.05, abs=0.01)
    assert '| traffic light | 32.60 | 33.60 | 31.6 | +2.00 |' in markdown(result, row)


def test_other_images_are_not_compared(tmp_path):
    result = a_result(tmp_path, images=100)
    assert not is_comparable(result)
    text = markdown(result, rows()['dsp-synthia'])
    assert OTHER_IMAGES in text
    assert '- paper' not in text
    assert '| traffic light | 32.60 | 33.60 | 31.6 |' in text
    for change in (dict(size='192x96'), dict(type='FolderDataset')):
        right = dict(type='CityscapesDataset', images=500, size='2048x1024')
        assert is_comparable(dict(result, data=right))
        assert not is_comparable(dict(result, data=right | change))


def test_other_classes_are_refused(tmp_path):
    result = a_result(tmp_path)
    with pytest.raises(ValueError, match='a mean over 19 classes of Cityscapes, but this result has no IoU of terrain, '
                                         'train, truck'):
        compare_means(result, rows()['dacs-gta'])


def test_markdown_without_a_row(tmp_path):
    lines = markdown(a_result(tmp_path)).splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert table[0] == '| IoU (%) | student | teacher |'
    assert len(table) == 2 + 1 + 16
    assert all(line.count('|') == 4 for line in table)


def test_markdown_has_all_means(tmp_path):
    result = a_result(tmp_path)
    for values in result['networks'].values():
        values.update({'aAcc': 90.0, 'mAcc': 70.0, 'flat': 61.0, 'mIoU13': 62.0, 'unsupervised/infomax': 0.5})
    rows_of_means = [line.split(' | ')[0] for line in markdown(result).splitlines() if line.startswith('| ')][1:4]
    assert rows_of_means == ['| mIoU', '| flat', '| mIoU13']


@pytest.fixture(scope='module')
def trained(world, tmp_path_factory):
    """A config file and a checkpoint of two different networks."""
    folder = tmp_path_factory.mktemp('results')
    cfg = config(world, folder / 'run')
    model = tiny.randomised(tiny.build(cfg.model), 1)
    model.teacher.steps.fill_(1)
    save_checkpoint(dict(state_dict=model.state_dict()), str(folder / 'x.pth'))
    cfg.test_evaluator = ConfigDict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg.dump(str(folder / 'cfg.py'))
    return folder, model


def stock(model, dataset):
    """mmseg's own metric on the predictions of a network, image by image."""
    metric = IoUMetric()
    metric.dataset_meta = dataset.metainfo
    model.eval()
    for i in range(len(dataset)):
        with torch.no_grad():
            metric.process({}, [sample.to_dict() for sample in model.test_step(pseudo_collate([dataset[i]]))])
    return metric.evaluate(len(dataset))


def test_tool_writes_what_mmseg_measures(trained, tmp_path, capsys):
    folder, model = trained
    out = [tmp_path / name for name in ('a.json', 'a.md')]
    assert call('test.py', folder / 'cfg.py', folder / 'x.pth', '--work-dir', tmp_path / 'run', '--input-size', 40, 28,
                '--resolution', 'input', '--subsets', 'synthia16', 'synthia13', '--paper', 'dacs-gta',
                '--json', out[0], '--markdown', out[1]) == 0
    result = json.loads(out[0].read_text())
    cfg = Config.fromfile(folder / 'cfg.py')
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(40, 28)),
        dict(type='EvaluateAtResizedShape'), dict(type='PackUDAInputs')]
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for network in ('student', 'teacher'):
        model.predict_with = network
        expected = stock(model, dataset)
        for key in ('mIoU', 'mAcc', 'aAcc'):
            assert result['networks'][network][key] == pytest.approx(expected[key], abs=0.01)
        own = result['networks'][network]['IoU']
        assert result['networks'][network]['mIoU'] == pytest.approx(np.mean(list(own.values())), abs=0.01)
        assert {'mIoU16', 'mIoU13'} < set(result['networks'][network])
    assert result['row'] == 'dacs-gta'
    assert result['data'] == dict(type='RawCityscapesDataset', images=VAL, size='64x48')
    assert result['evaluation'] == dict(resolution='input', inference='images at 40x28, whole', scales=None, flip=False)
    text = out[1].read_text()
    assert 'DACS, Table 1' in text
    assert OTHER_IMAGES in text
    printed = capsys.readouterr().out
    assert 'DACS, Table 1: 52.14 over 19 classes; here ' in printed
    assert OTHER_IMAGES in printed


def test_tool_slides_and_averages(trained, tmp_path):
    folder, _ = trained
    assert call('test.py', folder / 'cfg.py', folder / 'x.pth', '--work-dir', tmp_path / 'run', '--slide', 32, 16,
                '--tta', 1, '--json', tmp_path / 'a.json') == 0
    assert json.loads((tmp_path / 'a.json').read_text())['evaluation'] == dict(
        resolution='native', inference='images in windows of (32, 32) by (16, 16)', scales=[1.0], flip=True)


@pytest.mark.parametrize(('arguments', 'match'), [
    (['--paper', 'CaMixx'], 'no paper reports'),
    (['--paper', 'CAMix'], 'give one of these ids'),
    (['--resolution', 'native'], '--input-size'),
    (['--slide', '32', '64'], 'skips pixels'),
])
def test_wrong_options(trained, tmp_path, arguments, match):
    folder, _ = trained
    assert match in call('test.py', folder / 'cfg.py', folder / 'x.pth', '--work-dir', tmp_path, *arguments)


def test_a_wrong_number_of_numbers(trained, capsys):
    folder, _ = trained
    assert call('test.py', folder / 'cfg.py', folder / 'x.pth', '--slide', '32') == 2
    assert '--slide takes no numbers, or two' in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_printed(trained, tmp_path, monkeypatch, capsys):
    """A full disk, a folder without permission: the evaluation took long, its numbers must not be lost."""
    import mmseg_camix_tools.commands.test
    monkeypatch.setattr(mmseg_camix_tools.commands.test, 'atomic_write',
                        Mock(side_effect=OSError(28, 'No space left on device')))
    folder, _ = trained
    message = call('test.py', folder / 'cfg.py', folder / 'x.pth', '--work-dir', tmp_path / 'run', '--json',
                   tmp_path / 'a.json', '--cfg-options', 'custom_hooks=[]')
    assert 'could not be written: [Errno 28] No space left' in message
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index('{\n'):])['networks']['teacher']['IoU']
