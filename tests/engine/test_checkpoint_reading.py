import os
import pickle
import random
import re
import sys
import time
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmseg_camix.engine.checkpoint import CheckpointError, read_checkpoint
from mmseg_camix.engine.checkpoint import reader as reader_module
from mmseg_camix.engine.checkpoint.restricted import read_restricted
from tests.engine import hostile

CALLS = tuple(hostile.calls(Path('unused')))
RAW = tuple(hostile.raw_pickles(Path('unused')))
FORMATS = pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])

heard: list[str] = []


def _listen(event: str, args: tuple) -> None:
    if event in ('os.system', 'subprocess.Popen', 'os.exec', 'os.posix_spawn', 'exec',
                 'pickle.find_class') or (event == 'open' and 'w' in str(args[1])):
        heard.append(event)


@pytest.fixture(scope='module', autouse=True)
def listener(tmp_path_factory):
    """Hears from the interpreter itself whatever is run; hooks cannot be removed."""
    # torch and zipfile import, and so run, some of their own modules on the first use.
    path = tmp_path_factory.mktemp('warm') / 'up.pth'
    read_checkpoint(hostile.saved({'a': np.float64(1)}, path, legacy=False))
    read_checkpoint(hostile.write_zip(path, pickle.dumps({'a': frozenset()})))
    sys.addaudithook(_listen)


def read_in_silence(path: Path) -> object:
    """Read `path`, and fail if the interpreter ran, imported by name or wrote anything."""
    heard.clear()
    try:
        return read_checkpoint(path)
    finally:
        assert heard == []


def appears(marker: Path) -> bool:
    for _ in range(40):
        if marker.exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize('kind', CALLS)
def test_the_hostile_files_would_run(kind, tmp_path):
    """The control: the tests below could fail."""
    marker = tmp_path / 'marker'
    path = hostile.saved(hostile.calls(marker)[kind], tmp_path / 'evil.pth', legacy=False)
    heard.clear()
    torch.load(path, weights_only=False)
    assert heard != []
    assert appears(marker)


@FORMATS
@pytest.mark.parametrize('place', ['state_dict', 'meta', 'message_hub', 'optimizer'])
@pytest.mark.parametrize('kind', CALLS)
def test_hostile_object_is_refused(kind, place, legacy, tmp_path):
    marker = tmp_path / 'marker'
    checkpoint = hostile.in_checkpoint(hostile.calls(marker)[kind], place)
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy)
    with pytest.raises(CheckpointError, match=r'evil\.pth was not opened: it .*Nothing in it'):
        read_in_silence(path)
    time.sleep(0.02 if kind == 'subprocess' else 0)
    assert not marker.exists()


@FORMATS
@pytest.mark.parametrize('kind', RAW)
def test_hostile_opcode_is_refused(kind, legacy, tmp_path):
    marker = tmp_path / 'marker'
    data = hostile.raw_pickles(marker)[kind]
    path = (hostile.write_legacy if legacy else hostile.write_zip)(tmp_path / 'evil.pth', data)
    with pytest.raises(CheckpointError, match='was not opened'):
        read_in_silence(path)
    assert not marker.exists()


@pytest.mark.parametrize('kind', [kind for kind in RAW if 'NEWOBJ' not in kind
                                  and 'dotted' not in kind])
def test_the_hostile_opcodes_would_run(kind, tmp_path):
    """The control for those that Python's own unpickler accepts."""
    marker = tmp_path / 'marker'
    try:
        pickle.loads(hostile.raw_pickles(marker)[kind])
    except pickle.UnpicklingError:
        assert kind == 'persistent id'
    assert marker.exists()


def test_hostile_file_inside_a_history_buffer(tmp_path):
    marker = tmp_path / 'marker'
    buffer = HistoryBuffer([1.], [1])
    buffer.evil = hostile.Call(os.system, f'touch {marker}')
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['message_hub']['log_scalars']['loss'] = buffer
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy=False)
    with pytest.raises(CheckpointError, match=r'call `(posix|nt)\.system`'):
        read_in_silence(path)
    assert not marker.exists()


def test_an_allow_list_of_others_is_not_ours(tmp_path):
    """With getattr and eval allow-listed, torch's reader runs a file; ours does not use it."""
    marker = tmp_path / 'marker'
    data = b'c__builtin__\neval\n(X%s%stR.' % (
        len(code := f'open({str(marker)!r},"w")'.encode()).to_bytes(4, 'little'), code)
    path = hostile.write_zip(tmp_path / 'evil.pth', b'\x80\x02' + data)
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([eval])
    try:
        with pytest.raises(CheckpointError, match=r'builtins\.eval'):
            read_in_silence(path)
        assert set(torch.serialization.get_safe_globals()) == {eval, *before}
        assert not marker.exists()
        torch.load(path, weights_only=True)
        assert marker.exists()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize('load', [
    lambda path: CheckpointLoader.load_checkpoint(path),
    lambda path: load_checkpoint(nn.Linear(2, 2), path),
    lambda path: CheckpointLoader.load_checkpoint('file://' + path),
    lambda path: nn_with_init(path),
], ids=['loader', 'load_checkpoint', 'http', 'init_cfg'])
def test_every_way_of_mmengine_is_closed(load, tmp_path, monkeypatch):
    marker = tmp_path / 'marker'
    path = hostile.saved(hostile.in_checkpoint(hostile.calls(marker)['eval'], 'meta'),
                         tmp_path / 'evil.pth', legacy=False)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    monkeypatch.setitem(CheckpointLoader._schemes, 'file://',
                        CheckpointLoader._schemes['https://'])
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(
        sorted(CheckpointLoader._schemes.items(), reverse=True)))
    with pytest.raises(CheckpointError, match='was not opened'):
        load(str(path))
    assert not marker.exists()


def nn_with_init(path: str) -> None:
    from mmengine.model import BaseModule
    module = BaseModule(init_cfg={'type': 'Pretrained', 'checkpoint': path})
    module.layer = nn.Linear(2, 2)
    module.init_weights()


def test_config_text_in_a_checkpoint_is_not_run(tmp_path):
    """`Runner.resume` runs meta['config'], and an inferencer without a config meta['cfg']."""
    from mmseg.apis import MMSegInferencer
    marker = tmp_path / 'marker'
    text = f'open({str(marker)!r}, "w")'
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['meta'].update(config=text, cfg=text)
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy=False)
    meta = read_checkpoint(path)['meta']
    assert 'config' not in meta
    assert meta['config_text'] == text
    with pytest.raises(ValueError, match='pass `model=` the config file'):
        MMSegInferencer(None, weights=str(path), device='cpu')
    assert not marker.exists()


def rich_checkpoint() -> dict:
    """A bit of everything that a sound checkpoint of others holds."""
    state = OrderedDict(weight=torch.arange(6.).view(2, 3), half=torch.ones(2).bfloat16(),
                        index=torch.tensor([1, 2]), flag=torch.tensor([True, False]),
                        empty=torch.empty(0), scalar=torch.tensor(3.5))
    state['transposed'] = state['weight'].t()
    state['parameter'] = nn.Parameter(torch.ones(2))
    state._metadata = OrderedDict(layer={'version': 2})
    return {
        'state_dict': state,
        'optimizer': {'state': {0: {'step': torch.tensor(3.), 'exp_avg': torch.rand(2)}},
                      'param_groups': [{'lr': np.float64(0.1), 'betas': (0.9, 0.999)}]},
        'meta': {'palette': np.array([[1, 2], [3, 4]]), 'names': np.array(['a', 'bc']),
                 'config dict': ConfigDict(a=1, b={'c': 2}), 'counts': defaultdict(int, a=1),
                 'queue': deque([1, 2]), 'bytes': b'\x00\xff', 'set': {1, 2}, 'big': 2**70,
                 'frozen': frozenset([1]), 'complex': 1 + 2j, 'text': 'äöü', 'none': None,
                 'counter': Counter('aab'), 'int': np.int64(7), 'size': torch.Size([1, 2])},
        'message_hub': {'log_scalars': {'loss': HistoryBuffer([1., 2.], [1, 1], max_length=5)},
                        'runtime_info': {'best': np.float32(0.5)}, 'resumed_keys': {}},
    }


@FORMATS
def test_sound_checkpoint_of_others(legacy, tmp_path):
    original = rich_checkpoint()
    path = hostile.saved(original, tmp_path / 'sound.pth', legacy)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    heard.clear()
    result = read_checkpoint(path)
    assert 'pickle.find_class' not in heard
    for key, value in original['state_dict'].items():
        assert result['state_dict'][key].dtype == value.dtype
        assert torch.equal(result['state_dict'][key], value), key
    assert result['state_dict']._metadata == {'layer': {'version': 2}}
    # What shared memory still does.
    result['state_dict']['weight'][0, 1] = 99
    assert result['state_dict']['transposed'][1, 0] == 99
    step = result['optimizer']['state'][0]['step']
    assert torch.equal(step, torch.tensor(3.))
    assert result['optimizer']['param_groups'] == [{'lr': 0.1, 'betas': (0.9, 0.999)}]
    meta = result['meta']
    assert meta['palette'].tolist() == [[1, 2], [3, 4]]
    assert meta['names'].tolist() == ['a', 'bc']
    assert {key: value for key, value in meta.items() if key not in ('palette', 'names')} == {
        'config dict': {'a': 1, 'b': {'c': 2}}, 'counts': {'a': 1}, 'queue': [1, 2],
        'bytes': b'\x00\xff', 'set': {1, 2}, 'big': 2**70, 'frozen': frozenset([1]),
        'complex': 1 + 2j, 'text': 'äöü', 'none': None, 'counter': {'a': 2, 'b': 1}, 'int': 7,
        'size': (1, 2)}
    buffer = result['message_hub']['log_scalars']['loss']
    assert type(buffer) is HistoryBuffer
    assert (buffer._log_history.tolist(), buffer._count_history.tolist()) == ([1., 2.], [1, 1])
    assert buffer.max_length == 5
    assert buffer.mean() == 1.5
    assert result['message_hub']['runtime_info'] == {'best': 0.5}


@pytest.mark.parametrize('protocol', range(6))
def test_every_protocol_of_pickle(protocol, tmp_path):
    data = {'a': [1, 2.5, 'x', (None, True), {'b': -1, 'c': 2**40}], 'e': [], 'd': {1: {2}}}
    path = hostile.write_zip(tmp_path / 'a.pth', pickle.dumps(data, protocol))
    with path.open('rb') as file:
        assert read_restricted(file) == data


@pytest.mark.parametrize('protocol', range(5))
def test_arrays_of_every_protocol(protocol, tmp_path):
    data = {'array': np.arange(6, dtype=np.float32).reshape(2, 3), 'number': np.float64(1.5)}
    path = hostile.write_zip(tmp_path / 'a.pth', pickle.dumps(data, protocol))
    with path.open('rb') as file:
        result = read_restricted(file)
    assert np.array_equal(result['array'], data['array'])
    assert result['number'] == 1.5


def test_harmless_objects_are_read_around(tmp_path):
    checkpoint = hostile.in_checkpoint(hostile.Thing({'a': 1}), 'meta')
    checkpoint['meta']['path'] = PurePosixPath('a/b')
    checkpoint['meta']['list'] = [1, hostile.Thing(None)]
    path = hostile.saved(checkpoint, tmp_path / 'a.pth', legacy=False)
    result = read_in_silence(path)
    assert result['meta'] == {'iter': 1, 'epoch': 0, 'list': [1, None]}
    assert torch.equal(result['state_dict']['weight'], torch.ones(2))


@pytest.mark.parametrize('place', ['state_dict', 'optimizer', 'param_schedulers'])
def test_objects_in_the_place_of_state_are_refused(place, tmp_path):
    path = hostile.saved(hostile.in_checkpoint(hostile.Thing(1), place), tmp_path / 'a.pth',
                         legacy=False)
    with pytest.raises(CheckpointError, match=rf'`{place}\.evil` is an object of the class '
                       r'`tests\.engine\.hostile\.Thing`'):
        read_checkpoint(path)


def test_a_whole_model_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match=r'an object.*torch\.nn\.modules\.linear\.Linear'):
        read_checkpoint(tmp_path / 'model.pth')


def test_message_hub_that_is_an_object_is_dropped(tmp_path):
    """Early mmengine pickled the hub itself: its log is lost, the training goes on."""
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['message_hub'] = hostile.Thing(1)
    path = hostile.saved(checkpoint, tmp_path / 'a.pth', legacy=False)
    assert read_checkpoint(path)['message_hub'] == {
        'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}


def test_flat_weights_and_devices(tmp_path):
    torch.save({'a': torch.ones(2), 'b': np.float64(2)}, tmp_path / 'a.pth')
    result = read_checkpoint(str(tmp_path / 'a.pth'), map_location='meta')
    assert result['a'].is_meta
    assert result['b'] == 2


def test_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth can not be found'):
        read_checkpoint(tmp_path / 'nothing.pth')


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'damaged|no file of torch.save'), (b'hello', 'no file of torch.save'),
    (b'PK\x03\x04 and no more', 'damaged'), (pickle.dumps({'a': 1}), 'no file of torch.save')])
def test_no_checkpoint_at_all(content, message, tmp_path):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / 'a.pth')


def test_torchscript_is_refused(tmp_path):
    path = hostile.write_zip(tmp_path / 'a.pth', pickle.dumps({}), **{'constants.pkl': b'x'})
    with pytest.raises(CheckpointError, match='TorchScript'):
        read_checkpoint(path)


@FORMATS
@pytest.mark.parametrize('share', [0.3, 0.6, 0.99])
def test_truncated(share, legacy, tmp_path):
    path = hostile.saved(rich_checkpoint(), tmp_path / 'a.pth', legacy)
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])
    with pytest.raises(CheckpointError, match='damaged|cut short'):
        read_checkpoint(path)


def test_damaged_pickles_raise_nothing_else(tmp_path):
    """Whatever bytes are changed: read or refused, and nothing is run."""
    path = hostile.saved(rich_checkpoint(), tmp_path / 'a.pth', legacy=False)
    with zipfile.ZipFile(path) as archive:
        name, = (name for name in archive.namelist() if name.endswith('data.pkl'))
        sound = archive.read(name)
    dice = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        hostile.write_zip(path, bytes(data))
        heard.clear()
        try:
            with path.open('rb') as file:
                read_restricted(file)
        except CheckpointError:
            refused += 1
        assert not set(heard) - {'open'}
    assert refused > 100


def test_tensor_outside_its_storage_is_refused(tmp_path):
    data = (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n'
            b'FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x64\x85K\x01'
            b'\x85\x89NtR.')
    path = hostile.write_zip(tmp_path / 'a.pth', data, **{'data/0': b'\x00' * 16})
    with pytest.raises(CheckpointError, match='out of bounds'), path.open('rb') as file:
        read_restricted(file)


def test_before_torch_2_6_only_our_reader_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, 'TORCH_IS_SAFE', False)
    monkeypatch.setattr(torch, 'load', None)
    torch.save({'a': torch.ones(2)}, tmp_path / 'a.pth')
    assert torch.equal(read_checkpoint(tmp_path / 'a.pth')['a'], torch.ones(2))


def test_no_source_of_ours_reads_without_restriction():
    package = Path(reader_module.__file__).parents[2]
    pattern = re.compile(r'weights_only\s*=\s*False|pickle\.loads?\(|find_class')
    found = [file for file in package.rglob('*.py')
             if any(pattern.search(line.split('#')[0]) for line in file.read_text().splitlines()
                    if 'torch.hub' not in line and 'reads with' not in line)]
    assert found == []
