"""Tables that resume: which runs are missing, what makes a result another one, how it is written."""

import json
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from benchmarks import methods
from benchmarks.suites import Results, Row, Run, load_suite, protocol_digest, runs_of

BASE = """
data_root = 'data/mini'
work_dir = 'there'
randomness = dict(seed=0)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_dataloader = dict(batch_size=2, num_workers=2, persistent_workers=True,
                        dataset=dict(data_root=data_root + '/gta'))
val_dataloader = None
train_cfg = dict(max_iters=10, val_interval=5)
model = dict(type='DACS', masks=dict(classes=dict(ratio=0.5)))
default_hooks = dict(logger=dict(interval=50))
"""


@pytest.fixture
def row(tmp_path):
    (tmp_path / 'cfg.py').write_text(BASE)
    return Row('A', str(tmp_path / 'cfg.py'))


def with_options(row, **options):
    return Row(row.name, row.config, options={key.replace('__', '.'): value for key, value in options.items()})


@pytest.mark.parametrize(('options', 'same'), [
    *((options, False) for options in (
        dict(optim_wrapper__optimizer__lr=0.2), dict(train_dataloader__batch_size=4), dict(train_cfg__max_iters=11),
        dict(model__masks__classes__ratio=0.4), dict(model__type='iDACS'), dict(train_dataloader__dataset__x=1))),
    *((options, True) for options in (
        dict(work_dir='elsewhere'), dict(train_dataloader__num_workers=0), dict(randomness__seed=7), dict(resume=True),
        dict(train_dataloader__persistent_workers=False), dict(default_hooks__logger__interval=1)))])
def test_what_changes_the_protocol(row, options, same):
    assert (protocol_digest(with_options(row, **options)) == protocol_digest(row)) == same


def test_the_protocol_is_the_content_not_the_file(row, tmp_path):
    (tmp_path / 'copy.py').write_text('# a comment\n' + BASE.replace('0.1', '1e-1'))
    assert protocol_digest(Row('B', str(tmp_path / 'copy.py'))) == protocol_digest(row)


def test_first_seeds_come_first(row):
    other = Row('B', row.config, seeds=1)
    runs = runs_of([row, other])
    assert [run.key for run in runs] == ['A/0', 'B/0', 'A/1', 'A/2']
    assert [run.key for run in runs_of([row, other], max_seeds=1)] == ['A/0', 'B/0']
    assert runs_of([]) == []


def test_results_are_kept_by_protocol(row, tmp_path):
    path = tmp_path / 'docs' / 'results.json'
    results = Results(path)
    first, second = Run(row, 0, 'abc'), Run(row, 1, 'abc')
    assert results.get(first) is None
    results.add(second, dict(metrics=dict(mIoU=1.0)))
    results.add(first, dict(metrics=dict(mIoU=2.0)))
    read = Results(path)
    assert read.get(first)['metrics'] == dict(mIoU=2.0)
    assert read.get(Run(row, 0, 'other')) is None
    assert list(json.loads(path.read_text())) == ['A/0', 'A/1']
    read.add(Run(row, 0, 'other'), dict(metrics=dict(mIoU=3.0)))
    assert Results(path).get(first) is None


def test_results_of_other_suites_are_taken_over(row, tmp_path):
    first = Run(row, 0, 'abc')
    Results(tmp_path / 'family.json').add(first, dict(metrics=dict(mIoU=2.0)))
    results = Results(tmp_path / 'camix.json', others=tmp_path.glob('*.json'))
    assert results.get(first)['metrics'] == dict(mIoU=2.0)
    assert results.get(Run(row, 0, 'other')) is None
    assert results.get(Run(row, 1, 'abc')) is None
    results.add(first, dict(metrics=dict(mIoU=3.0)))  # its own come first
    assert Results(tmp_path / 'camix.json', others=[tmp_path / 'family.json']).get(first)['metrics'] == dict(mIoU=3.0)


def outcome(miou):
    return dict(metrics=dict(mIoU=miou), curve=[], seconds=1, threads=1)


def test_two_processes_record_into_one_file(row, tmp_path):
    first, second = (Run(row, seed, 'p') for seed in range(2))
    mine, theirs = (Results(tmp_path / 'r.json') for _ in range(2))
    mine.add(first, outcome(1.0))
    theirs.add(second, outcome(2.0))
    assert [Results(tmp_path / 'r.json').get(run)['metrics']['mIoU'] for run in (first, second)] == [1.0, 2.0]


def test_only_what_is_missing_runs(row, tmp_path, monkeypatch):
    results = Results(tmp_path / 'r.json')
    runs = [Run(row, seed, 'p') for seed in range(3)]
    results.add(runs[1], outcome(5.0))
    executed = []

    def execute(run, work_dir, threads, data_root):
        executed.append((run.seed, threads, data_root))
        if run.seed == 2:
            raise subprocess.CalledProcessError(1, 'train')
        return outcome(7.0)

    monkeypatch.setattr(methods, 'execute', execute)
    outcomes = {run.seed: result for run, result in methods.run_missing(runs, results, tmp_path, 2, 3, 'data')}
    assert sorted(executed) == [(0, 3, 'data'), (2, 3, 'data')]
    assert outcomes[0]['metrics']['mIoU'] == 7
    assert isinstance(outcomes[2], subprocess.CalledProcessError)
    kept = Results(tmp_path / 'r.json')
    assert [kept.get(run) is not None for run in runs] == [True, True, False]
    executed.clear()
    list(methods.run_missing(runs, kept, tmp_path, 2, 3, 'data'))  # the one that failed is tried again
    assert sorted(executed) == [(2, 3, 'data')]


def test_a_run_trains_resumes_and_reads_its_record(row, tmp_path, monkeypatch):
    """The training is a process of its own; here it only leaves its record."""
    calls = []

    def call(command, options, threads, log):
        calls.append((list(map(str, command)), options))
        folder = Path(command[command.index('--work-dir') + 1])
        folder.mkdir(parents=True, exist_ok=True)
        entries = [dict(iteration=i, metrics={'mIoU': i / 2, 'student/mIoU': i / 2, 'IoU.road': 1.0}) for i in (5, 10)]
        (folder / 'last_checkpoint').write_text(str(folder / 'iter_10.pth'))
        (folder / 'metrics.json').write_text(json.dumps(dict(val=entries, finished=True, test=dict(mIoU=78.5))))

    monkeypatch.setattr(methods, 'call', call)
    run = Run(Row('A b/c', row.config, options=dict(x=1), source_val=True), 2, 'p')
    entry = methods.execute(run, tmp_path / 'work', 1, '/data')
    (train, options), (test, _) = calls
    assert train[0].endswith('tools/train.py')
    assert train[1] == row.config
    assert '--resume' in train
    assert train[train.index('--seed') + 1] == '2'
    assert options['x'] == 1
    assert options['data_root'] == '/data'
    assert test[0].endswith('tools/test.py')
    assert test[2].endswith('iter_10.pth')
    assert entry['curve'] == [[5, {'mIoU': 2.5, 'student/mIoU': 2.5}], [10, {'mIoU': 5.0, 'student/mIoU': 5.0}]]
    assert entry['metrics']['IoU.road'] == 1
    assert entry['source_val'] == 78.5
    calls.clear()
    methods.execute(run, tmp_path / 'work', 1, '/data')
    assert [command[0].rsplit('/', 1)[-1] for command, _ in calls] == ['test.py']  # trained already
    methods.execute(Run(run.row, 2, 'other protocol'), tmp_path / 'work', 1, '/data')
    assert calls[1][0][0].endswith('train.py')


def test_a_failure_shows_the_end_of_its_log(tmp_path):
    (tmp_path / 'fails.py').write_text("print('first'); raise SystemExit('the reason')")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        methods.call([tmp_path / 'fails.py'], dict(a=1), 1, tmp_path / 'log.txt')
    assert 'the reason' in '\n'.join(caught.value.__notes__)


def test_options_and_threads_reach_the_process(tmp_path):
    (tmp_path / 'echo.py').write_text("import os, sys; print(sys.argv[1:], os.environ['OMP_NUM_THREADS'])")
    methods.call([tmp_path / 'echo.py', 'CONFIG', '--seed', 3], {'a.b': 1, 'c': 'x'}, 2, tmp_path / 'log.txt')
    assert (tmp_path / 'log.txt').read_text().strip() == "['CONFIG', '--seed', '3', '--cfg-options', 'a.b=1', 'c=x'] 2"


def test_suites(tmp_path):
    file = tmp_path / 'suite.py'
    file.write_text("title = 'T'\nrows = [dict(name='A', config='a.py', options={'x.y': 1}), "
                    "dict(name='B', config='b.py', seeds=1, source_val=True)]")
    title, rows = load_suite(file)
    assert title == 'T'
    assert rows == [Row('A', 'a.py', 3, {'x.y': 1}), Row('B', 'b.py', 1, {}, True)]
    assert type(rows[0].options) is dict
    file.write_text("title = 'T'\nrows = [dict(name='A', config='a.py'), dict(name='A', config='b.py')]")
    with pytest.raises(ValueError, match=r"row names must differ, but \['A'\] occur twice"):
        load_suite(file)


def test_the_digest_changes_with_the_data_and_the_methods_defaults(row, tmp_path, monkeypatch):
    before = protocol_digest(row, tmp_path)
    (tmp_path / 'mini.json').write_text('{"seed": 1}')
    other_data = protocol_digest(row, tmp_path)
    assert other_data != before
    method = MODELS.get(Config.fromfile(row.config).model.type)
    monkeypatch.setattr(method, 'defaults', {**method.defaults, 'predict_with': 'teacher'})
    assert protocol_digest(row, tmp_path) != other_data
