import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmseg_camix.checkpoint import install, read_checkpoint, writer
from tests.checkpoint.training import make_runner


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> Runner:
    """Eight iterations without a stop."""
    runner = make_runner(tmp_path_factory.mktemp('straight') / 'run', 8)
    runner.train()
    return runner


def assert_same_training(runner: Runner, straight: Runner) -> None:
    assert runner.iter == straight.iter == 8
    for key, value in straight.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[key], value), key
    ours, others = (run.optim_wrapper.optimizer.state_dict() for run in (runner, straight))
    assert ours['param_groups'] == others['param_groups']
    for number, state in others['state'].items():
        for key, value in state.items():
            assert torch.equal(ours['state'][number][key], value), key
    history, expected = (run.message_hub.get_scalar('train/loss') for run in (runner, straight))
    assert type(history) is HistoryBuffer
    assert history._log_history.tolist() == expected._log_history.tolist()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix == '.pth'}


def test_four_and_four_is_eight(straight, tmp_path):
    make_runner(tmp_path / 'run', 4).train()
    saved = torch.load(tmp_path / 'run/iter_4.pth', weights_only=True)
    assert set(saved) == {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'}
    resumed = make_runner(tmp_path / 'run', 8, resume=True)
    resumed.train()
    assert_same_training(resumed, straight)
    log, = Path(resumed.log_dir).glob('*.log')
    assert 'Auto resumed' in log.read_text()
    assert 'metainfo from the resumed checkpoint is different' not in log.read_text()


def test_a_training_of_stock_mmengine_goes_on(straight, tmp_path, monkeypatch):
    """Its checkpoint, as mmengine writes it: pickled, with HistoryBuffers."""
    monkeypatch.setattr(writer, 'to_plain', lambda checkpoint: checkpoint)
    make_runner(tmp_path / 'run', 4).train()
    monkeypatch.undo()
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(tmp_path / 'run/iter_4.pth', weights_only=True)
    resumed = make_runner(tmp_path / 'run', 8, resume=True)
    resumed.train()
    assert_same_training(resumed, straight)


def test_only_what_is_replaced_is_removed(tmp_path):
    runner = make_runner(tmp_path / 'run', 8, best=True, max_keep_ckpts=2)
    runner.train()
    assert names(tmp_path / 'run') == {'iter_6.pth', 'iter_8.pth', 'best_score_iter_8.pth'}
    assert (tmp_path / 'run/last_checkpoint').read_text().endswith('iter_8.pth')
    info = read_checkpoint(tmp_path / 'run/iter_8.pth')['message_hub']['runtime_info']
    assert info['keep_ckpt_ids'] == [4, 6, 8]  # with the one that is removed next
    assert info['best_score'] == 4.0
    assert type(info['best_score']) is float


def test_what_a_kill_left_over_is_removed_after_resuming(tmp_path):
    """Killed after the checkpoint was written and before the oldest was removed."""
    make_runner(tmp_path / 'run', 6, max_keep_ckpts=2).train()
    assert names(tmp_path / 'run') == {'iter_4.pth', 'iter_6.pth'}
    (tmp_path / 'run/iter_2.pth').write_bytes(b'')
    make_runner(tmp_path / 'run', 6, resume=True, max_keep_ckpts=2).train()
    assert names(tmp_path / 'run') == {'iter_4.pth', 'iter_6.pth'}


def test_published_checkpoint(tmp_path):
    make_runner(tmp_path / 'run', 2, published_keys=['meta', 'state_dict']).train()
    published, = (tmp_path / 'run').glob('iter_2-*.pth')
    assert set(torch.load(published, weights_only=True)) == {'meta', 'state_dict'}


def test_install_may_run_again():
    before = CheckpointHook._save_best_checkpoint
    install()
    assert CheckpointHook._save_best_checkpoint is before


STOCK = '''
import sys, torch
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint
layers = torch.nn.Module()
layers.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
checkpoint = load_checkpoint(layers, sys.argv[1], strict=True)
MessageHub('stock').load_state_dict(checkpoint['message_hub'])
assert 'mmseg_camix' not in sys.modules
print(layers.net[0].weight.sum().item())
'''


def test_stock_mmengine_loads_ours_without_this_package(straight):
    path = Path(straight.work_dir) / 'iter_8.pth'
    done = subprocess.run([sys.executable, '-c', STOCK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == straight.model.net[0].weight.sum().item()
