"""One training per work folder: the lock, fresh starts in used folders, and checkpoints of other trainings."""

import multiprocessing

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from benchmarks.same_run import differences
from mmseg_camix.checkpoint import CheckpointError, find_latest_checkpoint, read_checkpoint, save_checkpoint
from mmseg_camix.checkpoint.latest import read_run_id
from mmseg_camix.engine.hooks import run_folder_hook
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.engine.hooks.run_folder_hook import WorkFolderInUseError, config_changes, lock_folder
from tests.engine.test_resume import StopAt, Stopped, begun, log_of, train, training


def config_of(world, folder, method='DACS', **changes):
    cfg = training(world, folder, method, **changes)
    cfg.custom_hooks.append(dict(type='RunFolderHook'))
    return cfg


@pytest.fixture(scope='module')
def finished(world, tmp_path_factory):
    """A config and the folder of its finished training."""
    folder = tmp_path_factory.mktemp('finished')
    cfg = config_of(world, folder)
    train(cfg, folder / 'whole')
    return cfg, folder / 'whole'


@pytest.mark.parametrize('stop', [1, 4], ids=['before its first checkpoint', 'after its first checkpoint'])
def test_a_new_training_in_a_used_folder(finished, world, tmp_path, stop):
    """Killed and resumed, it continues itself and not the earlier one, which had another seed."""
    cfg, whole = finished
    other = config_of(world, tmp_path, randomness=dict(seed=7))
    train(other, tmp_path / 'used')
    earlier = read_run_id(tmp_path / 'used')
    with pytest.raises(Stopped):
        train(cfg, tmp_path / 'used', hooks=[StopAt(stop)])
    assert read_run_id(tmp_path / 'used') not in (earlier, None)
    assert read_record(tmp_path / 'used') == dict(val=[], finished=False)
    latest = find_latest_checkpoint(str(tmp_path / 'used'))
    assert latest == (None if stop == 1 else str(tmp_path / 'used/iter_3.pth'))
    train(cfg, tmp_path / 'used', resume=True)
    assert differences(whole, tmp_path / 'used') == []
    log = log_of(tmp_path / 'used')
    assert 'holds checkpoints of an earlier training (iter_3.pth, ...)' in log
    assert (tmp_path / 'used/last_checkpoint.old').is_file()


def test_checkpoints_of_older_versions_are_resumed(finished, tmp_path):
    """They have no run id."""
    cfg, whole = finished
    parts = begun(whole, tmp_path / 'parts')
    content = read_checkpoint(parts / 'iter_3.pth')
    del content['meta']['run_id']
    save_checkpoint(content, str(parts / 'iter_3.pth'))
    for resume in (True, True):  # the second time after a stop, before another checkpoint
        assert find_latest_checkpoint(str(parts)) == str(parts / 'iter_3.pth')
        with pytest.raises(Stopped):
            train(cfg, parts, resume, hooks=[StopAt(4)])
    train(cfg, parts, resume=True)
    assert differences(whole, parts) == []


def test_an_earlier_checkpoint_can_be_named(finished, world, tmp_path):
    """Then the folder is that of its training again."""
    cfg, whole = finished
    parts = begun(whole, tmp_path / 'parts')
    with pytest.raises(Stopped):
        train(config_of(world, tmp_path, randomness=dict(seed=7)), parts, hooks=[StopAt(0)])
    assert find_latest_checkpoint(str(parts)) is None
    train(Config(dict(cfg.to_dict(), load_from=str(parts / 'iter_3.pth'))), parts, resume=True)
    assert differences(whole, parts) == []


def _lock(folder, results):
    try:
        results.put(lock_folder(folder) is not None)
    except WorkFolderInUseError as error:
        results.put(str(error))


def test_two_trainings_in_one_folder(tmp_path):
    context = multiprocessing.get_context('fork')
    results = context.Queue()

    def lock_in_another_process():
        process = context.Process(target=_lock, args=(tmp_path, results))
        process.start()
        process.join()
        return results.get()

    lock = lock_folder(tmp_path)
    answer = lock_in_another_process()
    assert f'{tmp_path} is in use by another training (process ' in answer
    assert 'choose another folder with --work-dir' in answer
    lock.close()
    assert lock_in_another_process() is True
    assert lock_folder(tmp_path), 'the lock ends with its process'


def test_the_folder_is_locked_during_a_training(finished, tmp_path):
    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            locks.append((tmp_path / 'run/.lock').read_text())
            raise Stopped

    locks = []
    with pytest.raises(Stopped):
        train(finished[0], tmp_path / 'run', hooks=[Look()])
    assert locks[0].startswith('process ')


def test_resuming_another_method_is_refused(finished, world, tmp_path):
    _, whole = finished
    with pytest.raises(CheckpointError, match='of a DACS training, and the config trains CAMix.*give it as load_from'):
        train(config_of(world, tmp_path, 'CAMix'), begun(whole, tmp_path / 'parts'), resume=True)


def test_resuming_with_other_values_lists_them_once(finished, tmp_path):
    """Values that the states of optimiser and schedulers override apart from those that count."""
    cfg = Config(finished[0].to_dict())
    cfg.model.teacher = dict(alpha=0.5)
    cfg.optim_wrapper.optimizer.lr = 0.001
    cfg.train_dataloader.dataset.source.pipeline[2].crop_size = (16, 16)
    cfg.train_dataloader.num_workers = 1
    train(cfg, begun(finished[1], tmp_path / 'parts'), resume=True)
    log = log_of(tmp_path / 'parts')
    taken, ignored = log.split('The config differs from that of the resumed checkpoint; ')[1:]
    assert taken.startswith('the training continues with the new values:\n')
    assert ignored.startswith('these new values have no effect, ')
    assert '\n  optim_wrapper.optimizer.lr: 0.01 -> 0.001\n' in ignored
    for line in ('model.teacher: None -> {\'alpha\': 0.5}', 'optim_wrapper.optimizer.lr: 0.01 -> 0.001',
                 'train_dataloader.dataset.source.pipeline[2].crop_size: (32, 32) -> (16, 16)'):
        assert f'\n  {line}\n' in log, line


def test_values_of_a_checkpoint_have_no_escapes(monkeypatch):
    logged = []
    monkeypatch.setattr(run_folder_hook, 'print_log', lambda text, *_: logged.append(text))
    saved = dict(meta=dict(cfg=r"model = dict(type='DACS', name='\x1b[2J')"))
    run_folder_hook.check_resumed_config(saved, Config(dict(model=dict(type='DACS', name='x'))))
    assert logged[0].endswith('\n  model.name: \\x1b[2J -> x')


def test_equal_values_are_not_listed():
    saved = dict(model=dict(a=(1, 2), b=[dict(c=1)]), train_dataloader=dict(num_workers=2), work_dir='x')
    current = dict(model=dict(a=[1, 2], b=(dict(c=1),)), train_dataloader=dict(num_workers=4), work_dir='y')
    assert list(config_changes(saved, current)) == []
    current['model']['b'] = [dict(c=2), dict()]
    assert list(config_changes(saved, current)) == ["model.b: [{'c': 1}] -> [{'c': 2}, {}]"]
