import errno
import os
import random
import signal
import time
from collections import OrderedDict, deque
from enum import Enum
from pathlib import Path
from unittest.mock import Mock

import mmengine.runner
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import save_checkpoint as earlier_save_checkpoint
from torch import nn

from mmseg_camix import files
from mmseg_camix.checkpoint import from_plain, read_checkpoint, save_checkpoint, to_plain

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')


class Colour(Enum):
    RED = 'red'


def rich_state() -> dict:
    state = OrderedDict(weight=nn.Parameter(torch.rand(2, 3)), count=torch.tensor(3))
    state._metadata = OrderedDict(layer={'version': 2})
    return {
        'meta': {'cfg': 'a = 1', 'palette': np.array([[1, 2]]), 'config': ConfigDict(a=ConfigDict(b=1)),
                 'path': Path('a/b'), 'enum': Colour.RED, 'queue': deque([1]), 'float': np.float64(0.5),
                 'int': np.int32(2), 'flag': np.bool_(True), 'names': np.array(['x', 'y'])},
        'state_dict': state,
        'optimizer': {'state': {0: {'step': torch.tensor(1.)}},
                      'param_groups': [{'lr': np.float64(0.1), 'betas': (0.9, 0.99)}]},
        'message_hub': {
            'log_scalars': OrderedDict(loss=HistoryBuffer([1., 2.], [1, 1], max_length=7)),
            'runtime_info': OrderedDict(score=np.float32(0.5)), 'resumed_keys': OrderedDict(loss=True)},
        'random': {'numpy': ('MT19937', np.arange(4, dtype=np.uint32), 1, 0, 0.0)},
    }


def test_opens_with_nothing_allow_listed(tmp_path):
    path = str(tmp_path / 'new folder' / 'iter_1.pth')
    state = rich_state()
    save_checkpoint(state, path)
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        plain = torch.load(path, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)
    assert plain['meta'] == {
        'cfg': 'a = 1', 'palette': [[1, 2]], 'config': {'a': {'b': 1}}, 'path': str(Path('a/b')),
        'enum': 'red', 'queue': [1], 'float': 0.5, 'int': 2, 'flag': True, 'names': ['x', 'y']}
    assert type(plain['meta']['float']) is float
    assert type(plain['optimizer']['param_groups'][0]['lr']) is float
    assert type(plain['state_dict']['weight']) is torch.Tensor
    assert plain['state_dict']._metadata == {'layer': {'version': 2}}
    loss = plain['message_hub']['log_scalars']['loss']
    assert torch.equal(loss['log_history'], torch.tensor([1., 2.], dtype=torch.float64))
    assert plain['random']['numpy'][1].tolist() == [0, 1, 2, 3]
    # And what went in is as it was.
    assert type(state['state_dict']['weight']) is nn.Parameter
    assert type(state['message_hub']['log_scalars']['loss']) is HistoryBuffer


def test_round_trip_gives_the_history_back(tmp_path):
    path = str(tmp_path / 'iter_1.pth')
    save_checkpoint(rich_state(), path)
    hub = read_checkpoint(path)['message_hub']
    buffer = hub['log_scalars']['loss']
    assert type(buffer) is HistoryBuffer
    buffer.update(6.0)
    assert (buffer.mean(), buffer.mean(2), buffer.max_length) == (3.0, 4.0, 7)
    assert hub['runtime_info'] == {'score': 0.5}
    assert hub['resumed_keys'] == {'loss': True}


def test_plain_is_a_fixed_point():
    plain = to_plain(rich_state())
    restored = to_plain(from_plain(to_plain(rich_state())))
    assert restored['message_hub'].keys() == plain['message_hub'].keys()
    assert restored['meta'] == {key.replace('config', 'config_text'): value for key, value in plain['meta'].items()}


@pytest.mark.parametrize('save', [earlier_save_checkpoint, lambda *args: mmengine.runner.save_checkpoint(*args)],
                         ids=['imported before ours', 'imported after'])
def test_mmengine_saves_through_ours(save, tmp_path):
    save({'meta': {'a': np.float64(1)}}, str(tmp_path / 'a.pth'))
    assert torch.load(tmp_path / 'a.pth', weights_only=True) == {'meta': {'a': 1.0}}


def test_weights_alone_keep_their_versions(tmp_path):
    save_checkpoint(nn.BatchNorm1d(2).state_dict(), str(tmp_path / 'a.pth'))
    state = read_checkpoint(tmp_path / 'a.pth')
    assert state._metadata == {'': {'version': 2}}
    nn.BatchNorm1d(2).load_state_dict(state)


def test_memory_shared_by_tensors_is_written_once(tmp_path):
    big = torch.zeros(100_000)
    save_checkpoint({'state_dict': {'a': big, 'b': big, 'c': big.view(10, -1)}}, str(tmp_path / 'a.pth'))
    assert (tmp_path / 'a.pth').stat().st_size < 1.1 * big.nbytes


@pytest.mark.parametrize('section', ['state_dict', 'optimizer', 'param_schedulers', 'random'])
def test_object_in_the_place_of_state(section, tmp_path):
    with pytest.raises(TypeError, match=rf'`{section}\.a\[1\]` is an object of .*object'):
        save_checkpoint({section: {'a': [1, object()]}}, str(tmp_path / 'a.pth'))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('section', ['meta', 'message_hub'])
def test_object_that_only_describes_is_left_out(section):
    assert to_plain({section: {'a': object(), 'b': 1}}) == {section: {'b': 1}}


def test_functions_of_schedulers_are_no_state():
    assert to_plain({'param_schedulers': [{'rule': max, 'best': 1.0}]}) == {'param_schedulers': [{'best': 1.0}]}


class TestAtomicWrite:

    def test_replaces(self, tmp_path):
        path = tmp_path / 'new' / 'file'
        for content in (b'one', 'two'):
            files.atomic_write(path, content)
            assert path.read_text() == ('one' if content == b'one' else 'two')
        with pytest.raises(TypeError):
            files.atomic_write(path, 3)
        assert path.read_text() == 'two'
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize('failing', ['fsync', 'replace'])
    def test_full_disk(self, failing, tmp_path, monkeypatch):
        files.atomic_write(tmp_path / 'file', b'old')
        monkeypatch.setattr(*((os, 'fsync') if failing == 'fsync' else (Path, 'replace')),
                            Mock(side_effect=OSError(errno.ENOSPC, 'No space left on device')))
        with pytest.raises(OSError, match='No space left'):
            files.atomic_write(tmp_path / 'file', b'new')
        assert [file.name for file in tmp_path.iterdir()] == ['file']
        assert (tmp_path / 'file').read_bytes() == b'old'

    @needs_fork
    def test_file_size_limit_of_the_system(self, tmp_path):
        """A real failing write: the kernel refuses to write beyond a limit."""
        import resource
        save_checkpoint({'a': torch.zeros(10)}, str(tmp_path / 'iter_1.pth'))
        old = (tmp_path / 'iter_1.pth').read_bytes()
        if (child := os.fork()) == 0:
            status = 1
            try:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
                save_checkpoint({'a': torch.zeros(100_000)}, str(tmp_path / 'iter_1.pth'))
            except OSError as error:
                status = 0 if error.errno == errno.EFBIG else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (tmp_path / 'iter_1.pth').read_bytes() == old
        assert [file.name for file in tmp_path.iterdir()] == ['iter_1.pth']

    @needs_fork
    def test_killed_at_random_moments(self, tmp_path):
        """After each SIGKILL the file is whole; what the killed writer left goes with the next."""
        dice = random.Random(0)
        file, size = tmp_path / 'file', 1_000_000
        files.atomic_write(file, bytes(size))
        interrupted = 0
        for _ in range(25):
            if (child := os.fork()) == 0:
                while True:
                    for value in range(256):
                        files.atomic_write(file, bytes([value]) * size)
            time.sleep(dice.uniform(0.002, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            content = file.read_bytes()
            assert len(content) == size
            assert content == content[:1] * size
            interrupted += len(list(tmp_path.glob('.*.partial'))) > 0
        assert interrupted > 0
        files.atomic_write(file, b'')
        assert [file.name for file in tmp_path.iterdir()] == ['file']

    @pytest.mark.parametrize(('pid', 'life', 'stays'), [
        (os.getppid(), 'ab12', True), (os.getpid(), 'ab12', False), (os.getpid(), files._LIFE, True)],
        ids=['another that lives', 'a former life', 'this one'])
    def test_whose_hidden_files_are_removed(self, pid, life, stays, tmp_path):
        partial = tmp_path / f'.file.{files._host()}-{pid}-{life}.partial'
        partial.write_bytes(b'half')
        files.atomic_write(tmp_path / 'other', b'')
        assert partial.exists() == stays
