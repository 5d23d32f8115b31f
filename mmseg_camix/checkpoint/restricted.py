"""Read torch's two file formats, zip and the older one, without running anything from the file."""
import io
import struct
import zipfile
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .builders import BUILDERS
from .errors import CheckpointError, DamagedCheckpointError
from .pickle_machine import BROKEN, Global, PickleMachine

# The first number of the older format (torch < 1.6).
LEGACY_MAGIC = 0x1950a86a20f9469cfc6c
ZIP_MAGIC = b'PK\x03\x04'

_STORAGE_TYPES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'LongStorage': torch.int64, 'IntStorage': torch.int32,
    'ShortStorage': torch.int16, 'CharStorage': torch.int8, 'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool, 'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128, 'UntypedStorage': torch.uint8}


def read_restricted(file: BinaryIO) -> Any:
    """The content of `file`: plain data, CPU tensors, and placeholders for what is neither.

    Raises:
        CheckpointError: the file is damaged, of another format, or asks to call something.
    """
    start = file.read(4)
    file.seek(0)
    try:
        return _read_zip(file) if start == ZIP_MAGIC else _read_legacy(file)
    except CheckpointError:
        raise
    except (*BROKEN, zipfile.BadZipFile, struct.error) as error:
        raise DamagedCheckpointError(
            f'it is damaged or cut short ({type(error).__name__}: {error})') from error


def _storage_type(name: Any) -> torch.dtype:
    """FloatStorage and its like, as the file names them, to the type of their numbers."""
    kind = name.path.rsplit('.', 1)[-1] if type(name) is Global else None
    if kind not in _STORAGE_TYPES:
        raise CheckpointError(f'it holds a storage of the unknown type {name}')
    return _STORAGE_TYPES[kind]


def _flat(data: bytes, dtype: torch.dtype) -> Tensor:
    """Raw little-endian bytes as a flat tensor that owns its memory."""
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _read_zip(file: BinaryIO) -> Any:
    """The zip format: a pickle `NAME/data.pkl` and one member `NAME/data/KEY` for each storage."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith('/data.pkl') and name.count('/') == 1]
        if len(pickles) != 1:
            raise CheckpointError('it is a zip file, but not one that torch.save writes')
        folder = pickles[0][:-len('data.pkl')]
        if f'{folder}constants.pkl' in names:
            raise CheckpointError('it is a TorchScript program, not a set of weights')
        if f'{folder}byteorder' in names and archive.read(f'{folder}byteorder') != b'little':
            raise CheckpointError('it was written on a big-endian machine')
        known: dict[str, Tensor] = {}

        def storage(identity: tuple) -> Tensor:
            name, key = _storage_identity(identity)[:2]
            if key not in known:
                known[key] = _flat(archive.read(f'{folder}data/{key}'), _storage_type(name))
            return known[key]

        return PickleMachine(BUILDERS, storage).load(io.BytesIO(archive.read(pickles[0])))


def _storage_identity(identity: Any) -> tuple:
    """What follows 'storage' in a persistent id: type, key, location, number of elements, ..."""
    if type(identity) is not tuple or len(identity) < 5 or identity[0] != 'storage':
        raise CheckpointError('it refers to something outside itself that is not a storage')
    return identity[1:]


def _read_legacy(file: BinaryIO) -> Any:
    """The older format: five pickles in a row, then the storages, each as a length and bytes."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    known: dict[str, Tensor] = {}

    def storage(identity: tuple) -> Tensor:
        name, key, _location, length, *view = _storage_identity(identity)
        dtype = _storage_type(name)
        if type(length) is not int or not 0 <= length * dtype.itemsize <= size:
            raise DamagedCheckpointError('it is cut short: a storage is larger than the file')
        # The numbers follow after the pickle, so that they are filled in later.
        flat = known.setdefault(key, torch.zeros(length, dtype=dtype))
        if view and view[0] is not None:
            _, offset, length = view[0]
            return flat[offset:offset + length]
        return flat

    machine = PickleMachine(BUILDERS, storage)
    if _first_number(machine, file) != LEGACY_MAGIC:
        raise CheckpointError('it is no file of torch.save (or one of a version before 0.4)')
    machine.load(file)
    if not machine.load(file).get('little_endian', True):
        raise CheckpointError('it was written on a big-endian machine')
    content = machine.load(file)
    for key in machine.load(file):
        flat = known[key]
        length, = struct.unpack('<q', file.read(8))
        if length != flat.numel():
            raise DamagedCheckpointError('it is damaged: a storage has another length than announced')
        data = file.read(length * flat.element_size())
        if length:
            flat.copy_(torch.frombuffer(bytearray(data), dtype=flat.dtype, count=length))
    return content


def _first_number(machine: PickleMachine, file: BinaryIO) -> Any:
    try:
        return machine.load(file)
    except BROKEN as error:
        if isinstance(error, CheckpointError) and 'call' in str(error):
            raise
        return None


def is_whole_zip(file: BinaryIO) -> bool:
    """Whether the zip's directory, its very end, is there and every member is as it was written."""
    try:
        with zipfile.ZipFile(file) as archive:
            named = any(name.endswith('/data.pkl') for name in archive.namelist())
            return named and damaged_member(archive) is None
    except (zipfile.BadZipFile, struct.error, ValueError, OSError):
        return False


def damaged_member(archive: zipfile.ZipFile) -> str | None:
    """The first member whose content is not that of its checksum; torch does not look at checksums."""
    for info in archive.infolist():
        if info.CRC == 0:  # torch can be told to leave them out
            continue
        try:
            with archive.open(info) as member:
                while member.read(1 << 20):
                    pass
        except zipfile.BadZipFile:
            return info.filename
    return None


def refuse_damaged(file: BinaryIO) -> None:
    """Raise DamagedCheckpointError if `file` is a zip with a damaged member."""
    start = file.read(4)
    file.seek(0)
    if start != ZIP_MAGIC:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            name = damaged_member(archive)
    except (zipfile.BadZipFile, struct.error, ValueError) as error:
        raise DamagedCheckpointError(f'it is damaged or cut short ({error})') from error
    file.seek(0)
    if name is not None:
        raise DamagedCheckpointError(f'it is damaged: the checksum of {name} is not that of its content')
