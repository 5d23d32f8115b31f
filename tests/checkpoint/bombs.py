"""Small checkpoint files that take far more memory or time than their size accounts for."""
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.checkpoint import hostile
from tests.tools_runner import ROOT

MEBIBYTE = 2**20


def _text(value: str) -> bytes:
    return b'X' + len(value).to_bytes(4, 'little') + value.encode()


def _call(name: str, *args: bytes) -> bytes:
    module, _, attribute = name.rpartition('.')
    return b'c' + f'{module}\n{attribute}\n'.encode() + b'(' + b''.join(args) + b'tR'


def _pickled(*values: bytes) -> bytes:
    """A list of values that are given as opcodes."""
    return b'\x80\x04]' + b''.join(value + b'a' for value in values) + b'.'


def _integer(value: int) -> bytes:
    return b'\x8a' + bytes([(value.bit_length() + 8) // 8]) + pickle.encode_long(value)


def shared(depth: int, kind: type = list) -> list | tuple:
    """A list of two references to a list of two references ...: 2**depth values for everyone who walks through them."""
    value = kind([1])
    for _ in range(depth):
        value = kind([value, value])
    return value


def _shared(depth: int, kind: type = list) -> bytes:
    return pickle.dumps(shared(depth, kind), 2)


def _nested_key(depth: int) -> bytes:
    key: tuple = (1, )
    for _ in range(depth):
        key = (key, )
    return pickle.dumps({key: 1}, 2)


def pickles() -> dict[str, bytes]:
    """Pickles for a zip file, by what they exhaust."""
    prime = 2**61 - 1
    return {
        'bytes of a number': _pickled(_call('builtins.bytes', _integer(6 * 10**8))),
        'bytearray of a number': _pickled(_call('builtins.bytearray', _integer(4 * 10**9))),
        'a size of bytes': _pickled(_call('torch.Size', _call('builtins.bytes', _integer(6 * 10**8)))),
        'a set of bytes': _pickled(_call('builtins.set', _call('builtins.bytearray', _integer(10**9)))),
        'a counter of text': _pickled(_call('collections.OrderedDict', _text('ab' * 1000))),
        'announced bytes': b'\x80\x04\x8e' + (2**40).to_bytes(8, 'little') + b'x.',
        'an announced bytearray': b'\x80\x05\x96' + (2**33).to_bytes(8, 'little') + b'x.',
        'an announced frame': b'\x80\x04\x95' + (2**40).to_bytes(8, 'little') + b'N.',
        'an array without size': b'\x80\x04' + _call('numpy.core.multiarray._reconstruct', b'N', b')', _text('b'))
                                 + b'(K\x01' + _integer(10**10) + b'\x85' + _call('numpy.dtype', _text('S0'))
                                 + b'\x89C\x00tb.',
        'many empty sets': b'\x80\x04](' + b'\x8f' * 10**7 + b'e.',
        'many marks': b'\x80\x04' + b'(' * 10**7 + b'.',
        'many small lists': _pickled(b'(' + b']' * 700_000 + b'l'),
        'many small sets': _pickled(b'(' + b'(\x91' * 350_000 + b'l'),
        'many small tuples': _pickled(b'(' + b'N\x85' * 850_000 + b'l'),
        'shared lists': _shared(40),
        'shared tuples': _shared(40, tuple),
        'a nested key': _nested_key(250),
        'nested lists': b'\x80\x04' + b']' * 10**6 + b'a' * (10**6 - 1) + b'.',
        'a long integer': _pickled(b'I' + b'9' * 4000 + b'\n'),
        'a very long integer': _pickled(b'I' + b'9' * 10**6 + b'\n'),
        'keys of one hash': b'\x80\x04}(' + b''.join(_integer(k * prime) + b'N' for k in range(1, 60_000)) + b'u.',
        'a memo of one hash': b'\x80\x04N' + b''.join(b'p%d\n' % (k * prime) for k in range(1, 60_000)) + b'.',
        'a repeated number': b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n'
                             b'FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQK\x00'
                             + b'J\x00\x00\x10\x00' * 2 + b'\x86K\x00K\x00\x86\x89NtR.',
    }


def _storage(kind: bytes, *more: bytes, count: int = 1) -> bytes:
    return b'(' + _text('storage') + kind + _text('0') + _text('cpu') + _integer(count) + b''.join(more) + b'tQ'


def _tensor(size: bytes, count: int = 1) -> bytes:
    storage = _storage(b'ctorch\nByteStorage\n', count=count)
    return _call('torch._utils._rebuild_tensor_v2', storage, b'K\0', size, b'K\1\x85', b'\x89', b'N')


def _keys(keys: Iterable[bytes]) -> bytes:
    return b'\x80\x04}(' + b''.join(key + b'N' for key in keys) + b'u.'


def wide() -> dict[str, tuple[bytes, str]]:
    """Pickles, and why each is refused: a larger one of its kind takes hours, or its message gigabytes."""
    deep, text = _shared(16)[2:-1], _text('a' * 10_001)
    many = b'(' + b'N' * 2000 + b't'
    return {
        'a deep storage type': (b'\x80\x02' + _storage(deep) + b'.', 'storage of the unknown type a list'),
        'a deep array type': (b'\x80\x02' + _call('numpy.dtype', deep) + b'.', 'an array of a list, which'),
        'tuples of numbers': (_keys(_integer(2**59 - i) + _integer(i) + b'\x86' for i in range(1, 300)),
                              'over 256 keys in one place, and a tuple as one'),
        'distant numbers': (_keys(_integer(i << 20) for i in range(1, 5100)), 'over 5000 keys in one place, and a int'),
        'distant numbers in a set': (b'\x80\x02' + _call('builtins.set', b'](' + b''.join(
            _integer(i << 20) for i in range(1, 5100)) + b'e') + b'.', 'over 5000 keys in one place, and a int'),
        'numbers, one by one': (b'\x80\x02}' + b''.join(_integer(i << 20) + b'Ns' for i in range(1, 5100)) + b'.',
                                'over 5000 keys in one place, and a int'),
        'equal keys': (_keys([text, text]), 'a key of 10001 characters, more than 10000'),
        'a distant memo': (b'\x80\x02Nr' + (1002).to_bytes(4, 'little') + b'.', 'numbers its objects with gaps'),
        'a long name': (b'\x80\x04' + text + b'q\0h\0\x93.', 'a class with more than 1000 characters'),
        'repeated arguments': (b'\x80\x02cargparse\nNamespace\nq\0' + many + b'q\1](' + b'h\0h\1R' * 1000 + b'e.',
                               'far more memory than its size'),
        'large sizes': (b'\x80\x02' + _tensor(_integer(2**1900) * 3 + b'\x87') + b'.', 'without a storage or a shape'),
        'many sizes': (b'\x80\x02' + _tensor(b'(' + b'K\1' * 65 + b't') + b'.', 'without a storage or a shape'),
        'pairs of tensors': (b'\x80\x02' + _call('collections.OrderedDict', b']' + _tensor(b'K\2\x85', 2) + b'a')
                             + b'.', 'a dict made of something other than pairs'),
        'a state of tensors': (b'\x80\x02' + _call('numpy.core.multiarray._reconstruct', b'N', b')', _text('b'))
                               + _tensor(b'K\5\x85', 5) + b'b.', 'sets the state of a ndarray'),
        'a wide storage': (b'\x80\x02' + _storage(b'ctorch\nByteStorage\n', *[b'N'] * 2000) + b'.',
                           'outside itself that is not a storage'),
    }


def repeated() -> dict[str, bytes]:
    """Pickles of a few hundred KB that call one builder again and again with the same large argument."""
    text = b'X' + (10**5).to_bytes(4, 'little') + b'a' * 10**5
    storage = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ'
    numbers = b'](' + b'N' * 50_000 + b'e'
    arguments = {'collections.deque': numbers + b'\x85', 'torch.Size': numbers.replace(b'N', b'K\1') + b'\x85',
                 '_codecs.encode': text + b'\x85', 'collections.OrderedDict': b')',
                 'collections.Counter': b'}(' + b''.join(_integer(i) + b'N' for i in range(2, 20_000)) + b'u\x85'}
    pickles = {name: b'c%b\n%b\nq\0' % tuple(name.encode().rsplit(b'.', 1)) + given + b'q\1](' + b'h\0h\1R' * 250_000
               for name, given in arguments.items()}
    pickles['tensors'] = (b'ctorch._utils\n_rebuild_tensor_v2\nq\0(' + storage + b'K\0K\1\x85K\1\x85\x89Ntq\1]('
                          + b'h\0h\1R' * 250_000)
    pickles['arrays'] = (
        b'cnumpy.core.multiarray\n_reconstruct\nq\0(NK\0\x85C\1btq\1(K\1J\xa0\x86\1\0\x85cnumpy\ndtype\n' + _text('u1')
        + b'\x85R\x89' + text + b'tq\2](' + b'h\0h\1Rh\2b' * 3000)
    return {name: b'\x80\x04' + data + b'e.' for name, data in pickles.items()}


def _zip(path: Path, names: list[str], **options: int) -> Path:
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name in names:
            archive.writestr(name, b'\x80\x02}.' if name.endswith('data.pkl') else b'\x00' * MEBIBYTE)
    return path


def files(folder: Path) -> Iterator[Path]:
    """Every file of this module, written into `folder`."""
    for name, data in (pickles() | {name: data for name, (data, _) in wide().items()}).items():
        yield hostile.write_zip(folder / f'{name}.pth', data, **{'data/0': b'\x00' * 4})
        yield hostile.write_legacy(folder / f'{name}, legacy.pth', data)
    yield _zip(folder / 'deflated members.pth', ['a/data.pkl', *(f'a/data/{i}' for i in range(300))],
               compression=zipfile.ZIP_DEFLATED)
    yield _many_storages(folder / 'many storages.pth')
    yield _overlapping(folder / 'overlapping members.pth')
    yield _directory(folder / 'a long directory.pth')


def _many_storages(path: Path) -> Path:
    """4 MiB in the older format: 50,000 storages, each as large as the file."""
    storage = b'(X\x07\x00\x00\x00storagectorch\nByteStorage\n%bX\x03\x00\x00\x00cpuJ\xa0\x86\x01\x00NtQ0'
    data = b'\x80\x02' + b''.join(storage % _text(str(number)) for number in range(50_000)) + b'}.'
    return hostile.write_legacy(path, data)


def _overlapping(path: Path) -> Path:
    """A zip whose directory names the same bytes 1,000 times."""
    _zip(path, ['a/data.pkl', 'a/data/0'])
    data = path.read_bytes()
    start = data.rindex(b'PK\x01\x02')
    end = data.rindex(b'PK\x05\x06')
    entry, ending = data[start:end], bytearray(data[end:])
    entries = b''.join(entry.replace(b'a/data/0', b'a/d/%04d' % number) for number in range(1000))
    ending[8:12] = struct.pack('<HH', 1001, 1001)
    directory = data.index(b'PK\x01\x02')
    ending[12:16] = struct.pack('<I', start - directory + len(entries))
    path.write_bytes(data[:start] + entries + ending)
    return path


def _directory(path: Path) -> Path:
    """A zip of 300,000 empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('a/data.pkl', b'\x80\x02}.')
    data = buffer.getvalue()
    start, end = data.index(b'PK\x01\x02'), data.index(b'PK\x05\x06')
    count = 300_000
    entries, ending = data[start:end] * count, bytearray(data[end:])
    ending[8:12] = struct.pack('<HH', count % 2**16, count % 2**16)
    ending[12:16] = struct.pack('<I', len(entries))
    path.write_bytes(data[:start] + entries + ending)
    return path


READ = '''
import resource, sys, time
import mmseg_camix
from mmseg_camix.checkpoint import CheckpointError, read_checkpoint
from tests.checkpoint import hostile
import torch
torch.save(dict(a=torch.ones(3)), sys.argv[1])
read_checkpoint(sys.argv[1])
for path in sys.stdin.read().splitlines():
    open('/proc/self/clear_refs', 'w').write('5')
    before = int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])
    start, error = time.monotonic(), ''
    try:
        read_checkpoint(path)
    except CheckpointError as caught:
        error = str(caught)
    seconds = time.monotonic() - start
    after = int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])
    print(path, after - before, seconds, error, sep='\\t', flush=True)
'''


def read_all(paths: list[Path], warm_up: Path) -> dict[str, tuple[int, float, str]]:
    """Path -> (MiB of memory at most, seconds, error) of reading it, in another process with limits of its own."""
    done = subprocess.run([sys.executable, '-c', READ, str(warm_up)], input='\n'.join(map(str, paths)), text=True,
                          capture_output=True, timeout=600, check=False, cwd=ROOT,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    rows = (line.split('\t') for line in done.stdout.splitlines())
    return {path: (int(memory) // 1024, float(seconds), error) for path, memory, seconds, error in rows}
