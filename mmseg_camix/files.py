"""Atomic writing of files: complete or absent, whatever interrupts the writer."""

import errno
import os
import re
import socket
from pathlib import Path

_PARTIAL = re.compile(r'\..+\.(?P<host>[^.]+)-(?P<pid>\d+)-(?P<life>[0-9a-f]+)\.partial')
# In a container that is started again, a process has the number of its predecessor.
_LIFE = os.urandom(4).hex()
_FULL = {errno.ENOSPC: 'the disk is full', errno.EDQUOT: 'the quota of this disk is used up'}
_REFUSED = {errno.EACCES: 'no permission to write', errno.EPERM: 'no permission to write',
            errno.EROFS: 'the disk is read-only', errno.ENOENT: 'no folder can be made here',
            errno.ENOTDIR: 'no folder can be made here'}


def atomic_write(path: str | os.PathLike, data: str | bytes | memoryview, clean: bool = True,
                 durable: bool = True) -> None:
    """Write `data` to a hidden file beside `path`, flush it to the disk, and rename it to `path`.

    If writing fails (a full disk, a lost mount), the hidden file is removed, the old content of `path` stays, and the
    error is raised. A killed writer leaves its hidden file; the next write into the folder removes it.

    Args:
        path: file to write; missing folders are created.
        data: its content.
        clean: remove hidden files of killed writers. In folders of many files the search takes time; call
            :func:`remove_leftovers` once instead.
        durable: wait for the disk; otherwise a power failure may leave a damaged file, which readers must detect.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if clean:
        remove_leftovers(path.parent)
    partial = path.with_name(f'.{path.name}.{_host()}-{os.getpid()}-{_LIFE}.partial')
    try:
        with partial.open('wb') as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


class CannotWrite(RuntimeError):
    """A result cannot be written, and neither could the next one."""


def write_output(path: Path, data: str | bytes, clean: bool = False, durable: bool = True) -> None:
    """`atomic_write` with errors that name the remedy; the old content of `path` stays."""
    try:
        atomic_write(path, data, clean, durable)
    except OSError as error:
        if error.errno in _FULL:
            raise CannotWrite(f'{path}: {_FULL[error.errno]} ({len(data)} bytes were to be written); what is done so '
                              'far is kept: free some space, or choose another --out, and run the same command '
                              'again') from error
        if error.errno in _REFUSED:
            raise CannotWrite(f'{path}: {_REFUSED[error.errno]}; choose a folder that is yours with --out, or change '
                              'its permissions') from error
        raise


def check_place(path: str | os.PathLike) -> None:
    """Raise CannotWrite where no file can be written at `path`, before its content is computed; makes its folder."""
    path = Path(path)
    if path.is_dir():
        raise CannotWrite(f'{path} is a folder; name a file in it')
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f'{folder} cannot be made ({error.strerror}); choose another place') from error
    if not os.access(folder, os.W_OK):
        raise CannotWrite(f'no permission to write into {folder}; choose another place')


def remove_leftovers(folder: Path) -> None:
    """Remove the hidden files of writers on this machine that have ended."""
    for file in folder.glob('.*.partial'):
        match = _PARTIAL.fullmatch(file.name)
        if not match or match['host'] != _host():
            continue
        pid = int(match['pid'])
        if not _is_alive(pid) or (pid == os.getpid() and match['life'] != _LIFE):
            file.unlink(missing_ok=True)


def _host() -> str:
    return socket.gethostname().split('.')[0] or 'localhost'


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    # So that the new name survives a power failure too. Windows cannot open folders.
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PrintableError(ValueError):
    """An error whose message may quote names of files and their content; it is :func:`printable`."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: object) -> str:
    """Text in one line whose control characters, which a terminal would obey, are written as escapes."""
    return ''.join(c if c.isprintable() else ' ' if c in '\n\t' else repr(c)[1:-1] for c in str(text))
