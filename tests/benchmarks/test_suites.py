"""Suites: which runs are missing, what makes a protocol, how results are recorded, what a run calls."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from benchmarks import methods
from benchmarks.suites import Results, Row, Run, Suite, describe_data, load_suite, protocol_digest, runs_of
from tests.tools_runner import call

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


def outcome(miou):
    return dict(metrics=dict(mIoU=miou), curve=[], seconds=1, threads=1)


@pytest.mark.parametrize(('same', 'options'), [
    (False, {'optim_wrapper.optimizer.lr': 0.2, 'optim_wrapper.optimizer.fused': True,
             'train_dataloader.batch_size': 4, 'train_cfg.max_iters': 11, 'model.masks.classes.ratio': 0.4,
             'model.type': 'iDACS', 'train_dataloader.dataset.x': 1}),
    (True, {'work_dir': 'elsewhere', 'train_dataloader.num_workers': 0, 'randomness.seed': 7, 'resume': True,
            'train_dataloader.persistent_workers': False, 'default_hooks.logger.interval': 1})])
def test_options_that_change_the_protocol(row, same, options):
    for key, value in options.items():
        assert (protocol_digest(Row('A', row.config, options={key: value})) == protocol_digest(row)) == same, key


def test_the_protocol_follows_content_data_and_the_methods_defaults(row, tmp_path, monkeypatch):
    (tmp_path / 'copy.py').write_text('# a comment\n' + BASE.replace('0.1', '1e-1'))
    digests = [protocol_digest(row, tmp_path)]
    assert protocol_digest(Row('B', str(tmp_path / 'copy.py')), tmp_path) == digests[0]
    (tmp_path / 'mini.json').write_text('{"seed": 1}')
    digests.append(protocol_digest(row, tmp_path))
    method = MODELS.get(Config.fromfile(row.config).model.type)
    monkeypatch.setattr(method, 'defaults', {**method.defaults, 'predict_with': 'teacher'})
    digests.append(protocol_digest(row, tmp_path))
    assert len(set(digests)) == 3


def test_runs_are_ordered_by_seed(row):
    rows = [row, Row('B', row.config, seeds=1)]
    assert [run.key for run in runs_of(rows)] == ['A/0', 'B/0', 'A/1', 'A/2']
    assert [run.key for run in runs_of(rows, max_seeds=1)] == ['A/0', 'B/0']
    assert runs_of([]) == []


def test_results_are_kept_by_protocol_and_shared_between_suites(row, tmp_path):
    path, run, other = tmp_path / 'docs/results.json', Run(row, 0, 'abc'), Run(row, 0, 'other')
    first, second = Results(path), Results(path)  # of two processes
    assert first.get(run) is None
    second.add(Run(row, 1, 'abc'), outcome(1.0))
    first.add(run, outcome(2.0))
    assert list(json.loads(path.read_text())) == ['A/0', 'A/1']
    suite = Results(tmp_path / 'docs/suite.json', others=path.parent.glob('*.json'))
    for results in (Results(path), suite):
        assert results.get(run)['metrics'] == dict(mIoU=2.0)
        assert results.get(other) is None
    suite.add(run, outcome(3.0))
    assert Results(suite.path, others=[path]).get(run)['metrics'] == dict(mIoU=3.0), 'its own results come first'
    Results(path).add(other, outcome(4.0))
    assert Results(path).get(run) is None


def test_only_missing_runs_are_executed(row, tmp_path, monkeypatch):
    results, runs, executed = Results(tmp_path / 'r.json'), [Run(row, seed, 'p') for seed in range(3)], []
    results.add(runs[1], outcome(5.0))

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
    list(methods.run_missing(runs, kept, tmp_path, 2, 3, 'data'))
    assert executed == [(2, 3, 'data')], 'a failed run is repeated'


def test_a_row_begins_with_the_checkpoint_of_another(row, tmp_path, monkeypatch):
    """Of the same seed, trained before it, and again where its checkpoint is gone; both decide on the protocol."""
    begun = Row('B', row.config, seeds=2, start='A')
    runs, results, calls = runs_of([begun, row], max_seeds=2), Results(tmp_path / 'r.json'), []
    assert [run.start and run.start.key for run in runs] == ['A/0', None, 'A/1', None]
    assert len({run.protocol for run in runs}) == 2
    other = Row('A', row.config, options={'train_cfg.max_iters': 11})
    assert runs_of([begun, other])[0].protocol != runs[0].protocol

    def call(command, options, threads, log):
        calls.append((log.parent.parent.name, options.get('load_from')))
        (log.parent / 'last_checkpoint').write_text(f'{log.parent.name}.pth')
        (log.parent / 'metrics.json').write_text(json.dumps(dict(
            val=[dict(iteration=10, metrics=dict(mIoU=1.0))], finished=True)))

    monkeypatch.setattr(methods, 'call', call)
    results.add(runs[1], outcome(5.0))
    assert all(isinstance(entry, dict) for _, entry in methods.run_missing(runs, results, tmp_path, 1, 1, 'data'))
    starts = [f'{runs[1].protocol}_seed{seed}.pth' for seed in (0, 1)]
    assert sorted(calls, key=str) == [('A', None), ('A', None), ('B', starts[0]), ('B', starts[1])]
    assert [name for name, _ in calls] == ['A', 'A', 'B', 'B']
    assert results.get(runs[1])['metrics']['mIoU'] == 5.0, 'a recorded result stays'


def test_a_row_does_not_begin_with_an_unfinished_training(row, tmp_path, monkeypatch):
    """A failed one has left a checkpoint of its middle; the rows of other seeds go on."""
    runs, calls = runs_of([row, Row('B', row.config, seeds=2, start='A')], max_seeds=2), []

    def call(command, options, threads, log):
        calls.append(log.parent)
        (log.parent / 'last_checkpoint').write_text(f'{log.parent.name}.pth')
        if (log.parent.parent.name, command[3]) == ('A', 0):
            raise subprocess.CalledProcessError(1, 'train')
        (log.parent / 'metrics.json').write_text(json.dumps(dict(
            val=[dict(iteration=10, metrics=dict(mIoU=1.0))], finished=True)))

    monkeypatch.setattr(methods, 'call', call)
    outcomes = {run.key: entry for run, entry in methods.run_missing(runs, Results(tmp_path / 'r.json'), tmp_path, 1, 1,
                                                                     'data')}
    assert {key for key, entry in outcomes.items() if isinstance(entry, dict)} == {'A/1', 'B/1'}
    assert 'A/' in str(outcomes['B/0'])
    assert 'has not finished' in str(outcomes['B/0'])
    assert [folder.parent.name for folder in calls] == ['A', 'A', 'B']


def test_an_interrupt_ends_the_suite(row, tmp_path, monkeypatch):
    executed = []

    def execute(run, *_):
        executed.append(run.seed)
        time.sleep(0.05)
        return outcome(1.0)

    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, 'execute', execute)
    monkeypatch.setattr(methods, 'as_completed', interrupted)
    runs = [Run(row, seed, 'p') for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        list(methods.run_missing(runs, Results(tmp_path / 'r.json'), tmp_path, 1, 1, 'data'))
    assert len(executed) <= 1


@pytest.mark.parametrize('content', ['{"A/0": {"proto', '', '[]', '{"A/0": {"metrics": {}}}', '{"A/0": 1}'])
def test_damaged_results_are_named(content, row, tmp_path):
    damaged = tmp_path / 'r.json'
    damaged.write_text(content)
    for path, others in ((damaged, []), (tmp_path / 's.json', [damaged])):
        with pytest.raises(ValueError, match=r'r\.json: not a file of results, or a damaged one .* restore it'):
            Results(path, others)
    results = Results(tmp_path / 's.json')
    results.path.write_text(content)
    with pytest.raises(ValueError, match=r's\.json: not a file'):
        results.add(Run(row, 0, 'p'), outcome(1.0))
    assert results.path.read_text() == content


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--only', 'Dacs'], "has no row 'Dacs'; did you mean 'DACS'?"), (['--seeds', 0], 2), (['--processes', 0], 2)])
def test_options_without_runs_are_refused(arguments, message, row, tmp_path, capsys):
    (tmp_path / 'suite.py').write_text(f"title, rows = 'T', [dict(name='DACS', config='{row.config}')]")
    result = call('benchmarks.methods', tmp_path / 'suite.py', '--data-root', tmp_path, *arguments)
    assert message == result if isinstance(message, int) else message in result


@pytest.mark.parametrize('start', ["start='C'", "start='B'", "start='A', seeds=4"])
def test_rows_that_cannot_be_begun(start, tmp_path):
    (tmp_path / 'suite.py').write_text(f"title = 'T'\nrows = [dict(name='A', config='a'), "
                                       f"dict(name='B', config='b', {start})]")
    with pytest.raises(ValueError, match="row 'B' starts from '.', which must be a row without start, of at least"):
        load_suite(tmp_path / 'suite.py')


def test_a_run_trains_resumes_and_reads_its_record(row, tmp_path, monkeypatch):
    calls = []

    def call(command, options, threads, log):
        """Leave the record of a training."""
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
    assert train[1:5] == [row.config, '--seed', '2', '--resume']
    assert options == {'x': 1, 'data_root': '/data', 'train_dataloader.num_workers': 1,
                       'default_hooks.checkpoint.save_best': None}
    assert test[0].endswith('tools/test.py')
    assert test[2].endswith('iter_10.pth')
    assert entry['curve'] == [[5, {'mIoU': 2.5, 'student/mIoU': 2.5}], [10, {'mIoU': 5.0, 'student/mIoU': 5.0}]]
    assert (entry['metrics']['IoU.road'], entry['source_val']) == (1, 78.5)
    calls.clear()
    methods.execute(run, tmp_path / 'work', 1, '/data')
    methods.execute(Run(run.row, 2, 'other protocol'), tmp_path / 'work', 1, '/data')
    assert [Path(command[0]).name for command, _ in calls] == ['test.py', 'train.py', 'test.py']


def test_options_and_threads_reach_the_process_and_a_failure_shows_its_log(tmp_path):
    (tmp_path / 'echo.py').write_text("import os, sys; print(sys.argv[1:], os.environ['OMP_NUM_THREADS'])")
    methods.call([tmp_path / 'echo.py', 'CONFIG', '--seed', 3], {'a.b': 1, 'c': 'x'}, 2, tmp_path / 'log.txt')
    assert (tmp_path / 'log.txt').read_text().strip() == "['CONFIG', '--seed', '3', '--cfg-options', 'a.b=1', 'c=x'] 2"
    (tmp_path / 'fails.py').write_text("print('first'); raise SystemExit('the reason')")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        methods.call([tmp_path / 'fails.py'], dict(a=1), 1, tmp_path / 'log.txt')
    assert 'the reason' in '\n'.join(caught.value.__notes__)


def test_suites_are_config_files(tmp_path):
    file = tmp_path / 'suite.py'
    file.write_text("title = 'T'\nrows = [dict(name='A', config='a.py', options={'x.y': 1}), "
                    "dict(name='B', config='b.py', seeds=1, source_val=True)]")
    assert load_suite(file) == ('T', [Row('A', 'a.py', 3, {'x.y': 1}), Row('B', 'b.py', 1, {}, True)], 'benchmark.md',
                                'data/mini')
    file.write_text("title = 'T'\nrows = [dict(name='A', config='a.py'), dict(name='A', config='b.py')]")
    with pytest.raises(ValueError, match=r"row names must differ, but \['A'\] occur twice"):
        load_suite(file)


def test_data_of_a_suite(tmp_path):
    """Photographs are described by their files, wherever they are; a suite without data names what to do."""
    (tmp_path / 'suite.py').write_text("title, rows, page, data_root = 'T', [], 'real_photographs.md', 'data/camvid'")
    suite = load_suite(tmp_path / 'suite.py')
    assert suite[2:] == ('real_photographs.md', 'data/camvid')
    with pytest.raises(SystemExit, match='no data at .*/none; give --data-root FOLDER; docs/real_photographs.md names'):
        methods.find_data(suite, f'{tmp_path}/none')
    with pytest.raises(SystemExit, match='no data at .*/none; draw it: mmseg-camix draw --out'):
        methods.find_data(Suite('T', []), f'{tmp_path}/none')
    assert methods.find_data(suite, str(tmp_path)) == str(tmp_path)
    described = []
    for place, size in (('a', 3), ('b', 3), ('c', 4)):
        (tmp_path / place / 'images').mkdir(parents=True)
        (tmp_path / place / 'images/0.jpg').write_bytes(bytes(size))
        (tmp_path / place / f'{place}.txt').touch()  # not data
        described.append(describe_data(tmp_path / place))
    assert described[0] == described[1] != described[2]


def test_drawings_beside_other_data_are_part_of_the_protocol(tmp_path):
    (tmp_path / 'both.py').write_text(BASE + f"drawn_root = '{tmp_path}/drawn'")
    both, digests = Row('A', str(tmp_path / 'both.py')), []
    (tmp_path / 'drawn').mkdir()
    for seed in (0, 1):
        (tmp_path / 'drawn/mini.json').write_text(str(seed))
        digests.append(protocol_digest(both, tmp_path / 'data'))
    assert digests[0] != digests[1]
