"""What a report reads from a work folder."""

import pytest

from mmseg_camix_tools.report.logs import read_logs
from mmseg_camix_tools.report.summary import facts
from mmseg_camix_tools.report.training import ReportError, iteration_of, read_training
from tests.report.work_dirs import ENVIRONMENT, HEAD, step, validation, write_run, write_training


def test_facts_of_logs(tmp_path):
    (tmp_path / 'a.log').write_text(
        HEAD.format(0, 'INFO', '\n' + ENVIRONMENT)
        + HEAD.format(1, 'WARNING', 'old\n  since long\nName of parameter - value')
        + HEAD.format(5, 'INFO', 'Command (mmseg_camix 1.0): python train.py \'a b\'')
        + HEAD.format(6, 'INFO', 'Iter(train) [1/2]') + HEAD.format(7, 'WARNING', 'slow') * 2
        + HEAD.format(10, 'ERROR', 'full'))
    (tmp_path / 'b.log').write_text(HEAD.format(20, 'INFO', 'again') + HEAD.format(23, 'WARNING', 'old\n  since long'))
    logs = read_logs([tmp_path / 'a.log', tmp_path / 'b.log'])
    assert logs.seconds == 10 + 3
    assert logs.facts == {'Python': '3.11.7', 'PyTorch': '2.8.0', 'GPU 0': 'Accelerator', 'seed': '3',
                          'mmseg_camix': '1.0'}
    assert logs.commands == ["python train.py 'a b'"]
    assert logs.in_training == {'slow': 2, 'full': 1}
    assert logs.at_start == {'old\n  since long': 2}


@pytest.mark.parametrize(('second', 'steps', 'validated'), [
    ([step(40, x=2.0), step(60)], [20, 40, 60], []),                # resumed at 30: 40 was repeated
    ([step(20), validation(25, mIoU=2.0)], [20], [25]),             # another training in the same folder
    ([], [20, 40], [40]),                                           # killed before its first line
    (['{"loss": 1, "st'], [20, 40], [40]),                          # or in the middle of it
])
def test_a_later_run_replaces_what_it_repeats(tmp_path, second, steps, validated):
    write_run(tmp_path, '1', [step(20), step(40, x=1.0), validation(40, mIoU=1.0)], HEAD.format(0, 'INFO', 'a'))
    write_run(tmp_path, '2', second)
    training = read_training(tmp_path)
    assert [entry['step'] for entry in training.steps] == steps
    assert [entry['step'] for entry in training.validations] == validated
    assert training.curve('x')[1] == [entry['x'] for entry in training.steps if 'x' in entry]


def test_a_later_test_in_the_same_folder_is_not_the_training(tmp_path, world):
    folder = write_training(tmp_path, world)
    (folder / 'iter_7.pth').rename(folder / 'iter_8.pth')  # one step after the last that was logged
    tested = write_run(folder, '20260103_000000')
    (tested / 'vis_data/scalars.json').unlink()
    (tested / 'vis_data/config.py').write_text("load_from = 'iter_8.pth'\ntrain_cfg = None\n")
    training = read_training(folder)
    assert training.method == 'DACS'
    assert 'Initial weights' not in facts(training)
    assert facts(training)['Iterations'].startswith('8')


def test_values_that_cannot_be_drawn_are_left_out(tmp_path):
    lines = ['{"a": NaN, "b": 1.5, "c": "<b>", "d": 1e308, "e": 1' + 400 * '0' + ', "iter": 1, "step": 1}\n',
             '[' * 100_000 + '\n']
    write_run(tmp_path, lines=lines, log='2026/13/45 00:00:00 - mmengine - INFO - no day of any year\n')
    (tmp_path / 'metrics.json').write_text('[' * 100_000)
    assert read_training(tmp_path).steps == [dict(b=1.5, iter=1, step=1)]


def test_checkpoints_in_order_and_the_result_of_the_best(tmp_path, world):
    folder = write_training(tmp_path, world, network=False)
    for name in ('iter_10', 'iter_3', 'iter_900', 'best_mIoU_iter_3'):
        (folder / f'{name}.pth').write_text('')
    assert iteration_of(read_training(folder).checkpoints[-2]) == 900
    (folder / 'last_checkpoint').write_text('/elsewhere/iter_10.pth')  # iter_900 is of an earlier training
    training = read_training(folder)
    assert [file.name for file in training.checkpoints] == ['iter_3.pth', 'iter_10.pth', 'best_mIoU_iter_3.pth']
    assert training.result['mIoU'] == 25
    (folder / 'best_mIoU_iter_3.pth').unlink()
    assert read_training(folder).result['mIoU'] == 30, 'iteration 10 was not validated: the last validation'


def test_nothing_in_a_work_folder_is_executed(tmp_path):
    run = write_run(tmp_path, log='x')
    (run / 'vis_data/config.py').write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'trace')!r}).touch()\n")
    assert read_training(tmp_path).config == {}
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize(('name', 'message'), [
    ('nothing', 'nothing: no such folder'), ('file', 'is a file; give the work folder'),
    ('empty', 'empty: not the work folder of a training')])
def test_wrong_paths(tmp_path, name, message):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ReportError, match=message):
        read_training(tmp_path / name)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"val": 3}', '{"val": [{"iteration": 1}]}', '{"val": [1]}',
                                  '{"val": [{"iteration": "<b>", "metrics": {"mIoU": 1}}]}'])
def test_a_damaged_record_is_left_out(tmp_path, text):
    write_run(tmp_path, lines=[validation(5, mIoU=2.0)], log='x')
    (tmp_path / 'metrics.json').write_text(text)
    assert [entry['mIoU'] for entry in read_training(tmp_path).validations] == [2.0]


@pytest.mark.parametrize(('model', 'is_adapted'), [
    ("dict(type='DACS', segmentor=dict())", True), ("dict(type='SourceOnly', segmentor=dict())", False),
    ("dict(type='MyMethod', segmentor=dict())", True), ("dict(type='MyNetwork')", False), ('None', False)])
def test_methods_that_are_not_imported_are_adapted(tmp_path, model, is_adapted):
    run = write_run(tmp_path, log='x')
    (run / 'vis_data/config.py').write_text(f'model = {model}\n')
    assert read_training(tmp_path).is_adapted is is_adapted
