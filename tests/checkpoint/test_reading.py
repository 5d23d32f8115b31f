import pickle
from argparse import Namespace
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint
from mmseg_camix.checkpoint.formats import read_restricted
from tests.checkpoint import hostile
from tests.checkpoint.hostile import sound_checkpoint

FORMATS = pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])


@FORMATS
def test_sound_checkpoint_of_others(legacy, tmp_path):
    original = sound_checkpoint()
    path = hostile.saved(original, tmp_path / 'sound.pth', legacy)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    result = read_checkpoint(path)
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


def test_safetensors_are_no_checkpoint(tmp_path):
    (tmp_path / 'model.safetensors').touch()
    with pytest.raises(CheckpointError, match='is a file of safetensors.* an export has a model.pth'):
        read_checkpoint(tmp_path / 'model.safetensors')


@pytest.mark.parametrize('protocol', range(6))
def test_every_protocol_of_pickle(protocol, tmp_path):
    data = {'a': [1, 2.5, 'x', (None, True), {'b': -1, 'c': 2**40}], 'e': [], 'd': {1: {2}}}
    arrays = {} if protocol == 5 else {'array': np.arange(6, dtype=np.float32).reshape(2, 3), 'number': np.float64(1.5)}
    path = hostile.write_zip(tmp_path / 'a.pth', pickle.dumps(data | arrays, protocol))
    with path.open('rb') as file:
        result = read_restricted(file)
    if arrays:
        assert np.array_equal(result.pop('array'), arrays['array'])
        assert result.pop('number') == 1.5
    assert result == data


def test_harmless_objects_are_read_around(tmp_path):
    checkpoint = hostile.in_checkpoint(hostile.Thing({'a': 1}), 'meta')
    checkpoint['meta']['path'] = PurePosixPath('a/b')
    checkpoint['meta']['list'] = [1, hostile.Thing(None)]
    path = hostile.saved(checkpoint, tmp_path / 'a.pth', legacy=False)
    result = read_checkpoint(path)
    assert result['meta'] == {'iter': 1, 'epoch': 0, 'list': [1, None]}
    assert torch.equal(result['state_dict']['weight'], torch.ones(2))


@pytest.mark.parametrize('place', ['state_dict', 'optimizer', 'param_schedulers'])
def test_objects_in_the_place_of_state_are_refused(place, tmp_path):
    path = hostile.saved(hostile.in_checkpoint(hostile.Thing(1), place), tmp_path / 'a.pth', legacy=False)
    with pytest.raises(CheckpointError, match=rf'`{place}\.evil` is an object of the class '
                       r'`tests\.checkpoint\.hostile\.Thing`'):
        read_checkpoint(path)


def test_checkpoints_of_other_programs(tmp_path):
    """Weights under a name of their own, and the command line beside them."""
    torch.save({'model': {'a': torch.ones(2)}, 'args': Namespace(lr=1), 'epoch': 3}, tmp_path / 'a.pth')
    result = read_checkpoint(tmp_path / 'a.pth')
    assert torch.equal(result.pop('model')['a'], torch.ones(2))
    assert result == {'epoch': 3}
    torch.save({'model': {'a': torch.ones(2), 'b': Namespace(lr=1)}}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'`model\.b` is an object.*argparse\.Namespace'):
        read_checkpoint(tmp_path / 'a.pth')


def test_a_whole_model_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match=r'an object.*torch\.nn\.modules\.linear\.Linear'):
        read_checkpoint(tmp_path / 'model.pth')


def test_message_hub_that_is_an_object_is_dropped(tmp_path):
    """Early mmengine pickled the hub itself: its log is lost, the training continues."""
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['message_hub'] = hostile.Thing(1)
    path = hostile.saved(checkpoint, tmp_path / 'a.pth', legacy=False)
    assert read_checkpoint(path)['message_hub'] == {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}


def test_flat_weights_and_devices(tmp_path):
    torch.save({'a': torch.ones(2), 'b': np.float64(2)}, tmp_path / 'a.pth')
    result = read_checkpoint(str(tmp_path / 'a.pth'), map_location='meta')
    assert result['a'].is_meta
    assert result['b'] == 2


def test_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth can not be found'):
        read_checkpoint(tmp_path / 'nothing.pth')


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'damaged|not written by torch.save'), (b'hello', 'not written by torch.save'),
    (b'PK\x03\x04 and no more', 'damaged'), (pickle.dumps({'a': 1}), 'not written by torch.save')])
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
    path = hostile.saved(sound_checkpoint(), tmp_path / 'a.pth', legacy)
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])
    with pytest.raises(CheckpointError, match='damaged|cut short'):
        read_checkpoint(path)


@pytest.mark.parametrize('weights_only', [None, True, False])
def test_the_loading_of_mmengine_is_safe_whatever_it_asks_for(weights_only, tmp_path):
    """onedl-mmengine tries weights_only=True, then False."""
    from mmengine.runner import checkpoint
    path = hostile.saved(sound_checkpoint(), tmp_path / 'sound.pth', False)
    content = checkpoint.torch.load(path, map_location='cpu', weights_only=weights_only)
    assert set(content) == set(read_checkpoint(path))
