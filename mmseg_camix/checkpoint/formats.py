"""Read torch's two file formats, zip and the older one, without running anything from the file."""
import errno
import io
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .builders import BUILDERS
from .errors import CheckpointError, DamagedCheckpointError, describe, describe_error, shortened
from .unpickler import BROKEN, Budget, Global, Unpickler, is_tuple_of

# The first number of the older format (torch < 1.6).
LEGACY_MAGIC = 0x1950a86a20f9469cfc6c
ZIP_MAGIC = b'PK\x03\x04'

_STORAGE_TYPES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'LongStorage': torch.int64, 'IntStorage': torch.int32,
    'ShortStorage': torch.int16, 'CharStorage': torch.int8, 'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool, 'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128, 'UntypedStorage': torch.uint8}
_LONGEST_KEY = 1000  # characters; torch counts storages, or takes their addresses
_SMALL = 2**27  # bytes that any file may take in memory, besides twice its size for the objects in its pickle
LARGEST_DIRECTORY = 2**23  # bytes; of some 70,000 tensors


def read_restricted(file: BinaryIO) -> Any:
    """The content of `file`: plain data, CPU tensors, and placeholders for what is neither.

    Raises:
        CheckpointError: the file is damaged, of another format, too large for its size, or asks to call something.
    """
    start = file.read(4)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        return (_read_zip if start == ZIP_MAGIC else _read_legacy)(file, size)
    except CheckpointError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a seek to where the file says
            raise
        raise DamagedCheckpointError(f'it is damaged or cut short ({error})') from error
    except (*BROKEN, zipfile.BadZipFile, struct.error, NotImplementedError) as error:
        raise DamagedCheckpointError(f'it is damaged or cut short ({describe_error(error)})') from error


def _storage_type(name: Any) -> torch.dtype:
    """FloatStorage and its like, as the file names them, to the type of their numbers."""
    kind = name.path.rsplit('.', 1)[-1] if type(name) is Global else None
    if kind not in _STORAGE_TYPES:
        kind = shortened(name.path) if type(name) is Global else describe(name)
        raise CheckpointError(f'it contains a storage of the unknown type {kind}')
    return _STORAGE_TYPES[kind]


def _filled(read: Callable[[int], bytes], size: int) -> Tensor:
    """(size,) uint8 read from a file piece by piece, so that it is in memory only once."""
    data = torch.empty(size, dtype=torch.uint8)
    view = memoryview(data.numpy())
    for start in range(0, size, 1 << 20):
        stop = min(start + (1 << 20), size)
        view[start:stop] = read(stop - start)  # ValueError if fewer bytes are left
    return data


def _open_zip(file: BinaryIO, size: int) -> zipfile.ZipFile:
    """Open a zip file; its members must have their declared sizes, be uncompressed, and not overlap."""
    end = zipfile._EndRecData(file)
    if end is None or end[zipfile._ECD_SIZE] > LARGEST_DIRECTORY:
        raise DamagedCheckpointError('it is damaged or cut short: its directory is missing or larger than any of torch')
    archive = zipfile.ZipFile(file)
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise CheckpointError('it has compressed members, which torch.save does not write')
    if sum(info.file_size for info in archive.infolist()) > size:
        raise CheckpointError('its members are larger than the file')
    return archive


def _read_zip(file: BinaryIO, size: int) -> Any:
    """The zip format: a pickle `NAME/data.pkl` and one member `NAME/data/KEY` for each storage."""
    with _open_zip(file, size) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name.endswith('/data.pkl') and name.count('/') == 1]
        if len(pickles) != 1:
            raise CheckpointError('it is a zip file, but not one that torch.save writes')
        folder = pickles[0][:-len('data.pkl')]
        if f'{folder}constants.pkl' in names:
            raise CheckpointError('it is a TorchScript program, not a set of weights')
        if (name := damaged_member(archive)) is not None:
            raise DamagedCheckpointError(f'it is damaged: the checksum of {name} is not that of its content')
        if f'{folder}byteorder' in names and archive.read(f'{folder}byteorder') != b'little':
            raise CheckpointError('it was written on a big-endian machine')
        known: dict[str, Tensor] = {}

        def storage(identity: tuple) -> Tensor:
            name, key = _storage_identity(identity)[:2]
            if key not in known:
                info = archive.getinfo(f'{folder}data/{key}')
                with archive.open(info) as member:
                    known[key] = _filled(member.read, info.file_size).view(_storage_type(name))
            return known[key]

        budget = Budget(2 * size + _SMALL)
        budget.spend(archive.getinfo(pickles[0]).file_size)
        return Unpickler(io.BytesIO(archive.read(pickles[0])), BUILDERS, storage, budget).load()


def _storage_identity(identity: Any) -> tuple:
    """What follows 'storage' in a persistent id: type, key, location, number of elements, ..."""
    if not is_tuple_of((5, 6), identity) or type(identity[0]) is not str or identity[0] != 'storage':
        raise CheckpointError('it refers to something outside itself that is not a storage')
    if type(identity[2]) is not str or len(identity[2]) > _LONGEST_KEY:
        raise CheckpointError('it contains a storage whose key is not a short text')
    return identity[1:]


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """The older format: five pickles in a row, then the storages, each as a length and bytes."""
    known: dict[str, Tensor] = {}
    budget, room = Budget(2 * size + _SMALL), Budget(size)

    def storage(identity: tuple) -> Tensor:
        name, key, _location, length, *view = _storage_identity(identity)
        dtype = _storage_type(name)
        if type(length) is not int or length < 0:
            raise DamagedCheckpointError('it is damaged: a storage has no length')
        if key not in known:
            room.spend(length * dtype.itemsize)
            # The numbers follow after the pickle, so that they are filled in later.
            known[key] = torch.zeros(length, dtype=dtype)
        return known[key] if not view or view[0] is None else known[key][_part(view[0])]

    def load() -> Any:
        return Unpickler(file, BUILDERS, storage, budget).load()

    if _first_number(load) != LEGACY_MAGIC:
        raise CheckpointError('it was not written by torch.save (or by a version before 0.4)')
    load()
    if not load().get('little_endian', True):
        raise CheckpointError('it was written on a big-endian machine')
    content, keys = load(), load()
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise DamagedCheckpointError('it is damaged: the keys of its storages are not text')
    for key in keys:
        _fill(known[key], file)
    return content


def _part(view: Any) -> slice:
    """The part of a storage that `view` names: (its own key, offset, length)."""
    if not is_tuple_of((3, ), view) or any(type(number) is not int for number in view[1:]):
        raise DamagedCheckpointError('it is damaged: a part of a storage has no place in it')
    return slice(view[1], view[1] + view[2])


def _fill(flat: Tensor, file: BinaryIO) -> None:
    length, = struct.unpack('<q', file.read(8))
    if length != flat.numel():
        raise DamagedCheckpointError('it is damaged: a storage has another length than announced')
    flat.view(torch.uint8).copy_(_filled(file.read, flat.numel() * flat.element_size()))


def _first_number(load: Callable[[], Any]) -> int | None:
    try:
        number = load()
        return number if type(number) is int else None
    except BROKEN as error:
        if isinstance(error, CheckpointError) and 'call' in str(error):
            raise
        return None


def is_whole_zip(file: BinaryIO) -> bool:
    """Whether the zip's directory, its very end, is there and every member is as it was written."""
    try:
        with _open_zip(file, file.seek(0, os.SEEK_END)) as archive:
            named = any(name.endswith('/data.pkl') for name in archive.namelist())
            return named and damaged_member(archive) is None
    except (*BROKEN, zipfile.BadZipFile, struct.error, OSError):
        return False


def damaged_member(archive: zipfile.ZipFile) -> str | None:
    """The first member whose content is not that of its checksum."""
    for info in archive.infolist():
        if info.CRC == 0:  # torch can write files without them
            continue
        try:
            with archive.open(info) as member:
                while member.read(1 << 20):
                    pass
        except zipfile.BadZipFile:
            return info.filename
    return None
