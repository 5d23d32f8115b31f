"""Files that would take too much, and mutated ones: bounded memory and time, and an error that names the file."""

import contextlib
import io
import json
import pickle
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint, unpickler
from mmseg_camix.checkpoint.latest import is_whole
from mmseg_camix.weights.initialiser import read_weights
from mmseg_camix_tools.export.files import open_network
from tests.checkpoint import bombs, hostile

ADDED = 200  # MiB that a file may take besides four times its size
SECONDS = 20


def assert_bounded(results, refused=True):
    """Check memory, time and the error of every file that another process has read."""
    for path, (memory, seconds, error) in results.items():
        size = bombs.Path(path).stat().st_size / bombs.MEBIBYTE
        assert memory <= 4 * size + ADDED, path
        assert seconds <= SECONDS, path
        assert not refused or error.startswith(f'{path} was not opened: '), path
        assert len(error.splitlines()) <= 1


# Checkpoints can announce a frame as they like: it allocates nothing here. Small objects are read within the limits.
HARMLESS = ('an announced frame', 'many small')


@pytest.mark.slow
def test_bombs_are_refused(tmp_path):
    paths = list(bombs.files(tmp_path))
    results = bombs.read_all(paths, tmp_path / 'warm.pth')
    assert len(results) == len(paths)
    assert_bounded({path: row for path, row in results.items() if not any(name in path for name in HARMLESS)})
    assert_bounded(results, refused=False)


def test_torch_takes_gigabytes_for_such_a_file(tmp_path):
    """The reason why torch's restricted reader is not used; on a smaller one, to be kind to the machine."""
    data = bombs._pickled(bombs._call('torch.Size', bombs._call('builtins.bytearray', bombs._integer(10**6))))
    path = hostile.write_zip(tmp_path / 'a.pth', b'\x80\x02' + data[2:])
    assert len(torch.load(path, weights_only=True)[0]) == 10**6
    with pytest.raises(CheckpointError, match='unknown encoding'):
        read_checkpoint(path)


def test_errors_have_no_terminal_escapes(tmp_path):
    path = hostile.saved({'state_dict': {'\x1b[2J\nname': hostile.Thing(1)}}, tmp_path / 'a.pth', legacy=False)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    assert str(error.value).isprintable()
    assert r'state_dict.\x1b[2J name' in str(error.value)


@pytest.mark.parametrize(('content', 'reason'), [
    ({'state_dict': {'a': torch.ones(1)}, 'meta': [1]}, r'its `meta` is a list, not a dict'),
    ({'state_dict': {(1, (2, )): torch.ones(1)}}, 'it uses a tuple as a key'),
    ({'state_dict': {'a': torch.ones(1)}, 'meta': {'epoch': 10**2000}}, 'an integer of more than a thousand digits'),
])
def test_odd_content(tmp_path, content, reason):
    path = hostile.saved(content, tmp_path / 'a.pth', legacy=False)
    with pytest.raises(CheckpointError, match=rf'a\.pth was not opened: .*{reason}'):
        read_checkpoint(path)


@pytest.mark.parametrize('header', [b'', b'\xff' * 8, (2**40).to_bytes(8, 'little') + b'{', b'\x02' + bytes(7) + b'[]',
                                    (10**5).to_bytes(8, 'little') + b'[' * 10**5])
def test_headers_of_safetensors(tmp_path, header):
    (tmp_path / 'a.safetensors').write_bytes(header)
    with pytest.raises(CheckpointError, match=r'a\.safetensors was not opened: it is damaged'):
        open_network(tmp_path / 'a.safetensors')


@pytest.mark.parametrize('kind', bombs.repeated())
def test_a_memo_is_not_copied_for_free(tmp_path, kind):
    """The memo hands one argument to thousands of calls: three bytes each."""
    path = hostile.write_zip(tmp_path / 'a.pth', bombs.repeated()[kind], **{'data/0': bytes(16)})
    with pytest.raises(CheckpointError, match=r'a\.pth was not opened: it would take far more memory'):
        read_checkpoint(path)


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('kind', bombs.wide())
def test_objects_that_would_take_hours(tmp_path, kind, legacy):
    data, reason = bombs.wide()[kind]
    path = (hostile.write_legacy(tmp_path / 'a.pth', data) if legacy else
            hostile.write_zip(tmp_path / 'a.pth', data, **{'data/0': bytes(5)}))
    with pytest.raises(CheckpointError, match=rf'a\.pth was not opened: .*{reason}') as error:
        read_checkpoint(path)
    assert len(str(error.value)) < 400 + len(str(path))


@pytest.mark.parametrize(('data', 'keys', 'reason'), [
    (b'}.', [bombs.shared(16, tuple)], 'the keys of its storages are not text'),
    (b'N0' * 30 + b'}.', [''] * 50, 'more than 100 instructions'),
    (bombs._storage(b'ctorch\nByteStorage\n', b'](NK\0K\1e') + b'.', [], 'a part of a storage has no place in it'),
], ids=['keys', 'instructions', 'parts'])
def test_odd_parts_of_the_older_format(tmp_path, monkeypatch, data, keys, reason):
    """Instructions of its five pickles count together."""
    monkeypatch.setattr(unpickler, '_MOST_OPCODES', 100)
    path = hostile.write_legacy(tmp_path / 'a.pth', b'\x80\x02' + data, keys)
    with pytest.raises(CheckpointError, match=reason) as error:
        read_checkpoint(path)
    assert len(str(error.value)) < 400 + len(str(path))


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_large_containers_of_sound_checkpoints(tmp_path, legacy):
    content = {'optimizer': {'state': dict.fromkeys(range(20_000), 0.5)}, 'meta': {
        'numbers': set(range(0, 4_000_000, 1000)), 'pairs': {(i, -i): i for i in range(200)},
        'texts': {f'{i}': i for i in range(20_000)} | {('a', f'{i}'): i for i in range(1000)} | {None: 1, True: 2}}}
    assert read_checkpoint(hostile.saved(content, tmp_path / 'a.pth', legacy)) == content


def test_moved_containers_stay_shared(tmp_path):
    torch.save({'a': bombs.shared(16), 'b': bombs.shared(16, tuple)}, tmp_path / 'a.pth')
    for value in read_checkpoint(tmp_path / 'a.pth', 'cpu').values():
        assert value[0] is value[1]


@pytest.mark.parametrize('history', [['a', 'b'], torch.ones(2, dtype=torch.bfloat16), [[1], [1, 2, 3], 3]])
def test_odd_histories(tmp_path, history):
    hub = {'log_scalars': {'loss': {'log_history': history, 'count_history': history, 'max_length': 5}}}
    torch.save({'state_dict': {'a': torch.ones(1)}, 'message_hub': hub}, tmp_path / 'a.pth')
    assert len(read_checkpoint(tmp_path / 'a.pth')['message_hub']['log_scalars']['loss']._log_history) == 0


@pytest.mark.parametrize('dtype', ['bits8', 'uint3', 'quint8'])
def test_types_that_nothing_computes_with(tmp_path, dtype):
    data = bombs.repeated()['tensors'].split(b'q\x01')[0].replace(b'_rebuild_tensor_v2', b'_rebuild_tensor_v3')
    data = data[:-1] + b'ctorch\n%b\ntR.' % dtype.encode()
    path = hostile.write_zip(tmp_path / 'a.pth', data, **{'data/0': bytes(16)})
    with pytest.raises(CheckpointError, match=r'a\.pth was not opened: it contains a tensor of an unknown type'):
        read_checkpoint(path)


@pytest.mark.parametrize('read', [open_network, lambda path: read_weights(str(path))])
def test_long_headers_of_safetensors(tmp_path, read):
    header = json.dumps({'__metadata__': {'dataset_meta': '[' + '[],' * 3_000_000 + '[]]'}}).encode()
    (tmp_path / 'a.safetensors').write_bytes(len(header).to_bytes(8, 'little') + header)
    with pytest.raises(CheckpointError, match=r'a\.safetensors was not opened: .* its header takes 9\d* bytes'):
        read(tmp_path / 'a.safetensors')


def test_an_encrypted_zip_is_not_whole(tmp_path):
    torch.save({'a': torch.ones(3)}, tmp_path / 'a.pth')
    data = bytearray((tmp_path / 'a.pth').read_bytes())
    (tmp_path / 'a.pth').write_bytes(data.replace(b'PK\1\2\0\0\0\0\x08', b'PK\1\2\0\0\0\0\x09'))
    assert (tmp_path / 'a.pth').read_bytes() != data
    assert not is_whole(tmp_path / 'a.pth')


SEEDS = [*bombs.pickles().values(), *hostile.raw_pickles(bombs.Path('unused')).values(),
         pickle.dumps({'a': [1, 2.5]}, 4)]


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.sampled_from(SEEDS), other=st.sampled_from(SEEDS), dice=st.randoms(use_true_random=False),
       legacy=st.booleans(), junk=st.binary(max_size=40))
def test_mutated_pickles(tmp_path_factory, seed, other, dice, legacy, junk):
    """Read, or refused with a CheckpointError; nothing else is raised."""
    data = mutated(seed[:5000], other[:5000], dice, junk)
    path = tmp_path_factory.getbasetemp() / 'mutated.pth'
    (hostile.write_legacy if legacy else hostile.write_zip)(path, data)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(path)


@pytest.mark.slow
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_mutated_files(tmp_path, legacy):
    """Whole files with changed bytes, in another process, with limits on memory and time."""
    dice, paths, buffer = random.Random(0), [], io.BytesIO()
    torch.save(hostile.sound_checkpoint(), buffer, _use_new_zipfile_serialization=not legacy)
    for number in range(300):
        paths.append(tmp_path / f'{number}.pth')
        paths[-1].write_bytes(mutated(buffer.getvalue(), buffer.getvalue(), dice, b''))
    assert_bounded(bombs.read_all(paths, tmp_path / 'warm.pth'), refused=False)


def mutated(data, other, dice, junk):
    """The bytes with a few changed, cut, doubled, or exchanged for those of another file."""
    data = bytearray(data)
    for _ in range(dice.randrange(1, 8)):
        start, length = dice.randrange(len(data) + 1), dice.randrange(1, 30)
        piece = dice.choice([junk, bytes([dice.randrange(256)]), bytes(other[start:start + length]), b'\xff' * 4])
        data[start:start + dice.choice([0, len(piece), length])] = piece
    return bytes(data)
