"""Whether everything is unchanged since the last run of `prepare`; answered within a second.

This file imports only the standard library: the tool loads it before it imports torch and mmseg, which takes seconds.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDER = '.prepared'  # state of a run, below --out
STATE_FILE = 'state.json'
VERSION = 1  # increase it when the results for the same files change

Stamp = list[int]  # size and time of last change


def stamp(path: str | os.PathLike) -> Stamp:
    """Stamp of one file."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def list_files(root: str | os.PathLike, folder: str, suffix: str, without: str = '') -> dict[str, Stamp]:
    """All files below a folder with a suffix (and not another one): path below `root` -> stamp."""
    stamps, start = {}, len(os.path.join(root, ''))
    for entry in _walk(os.path.join(root, folder)):
        if entry.name.endswith(suffix) and not (without and entry.name.endswith(without)):
            status = entry.stat()
            stamps[entry.path[start:].replace(os.sep, '/')] = [status.st_size, status.st_mtime_ns]
    return stamps


def _walk(folder: str) -> Iterator[os.DirEntry]:
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            elif not entry.name.startswith('.'):
                yield entry


def fingerprint(files: dict[str, Stamp]) -> str:
    """Digest of names and stamps."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def config_digest(path: str | None) -> str | None:
    """Digest of a config and all its bases; '' where only mmengine can resolve the bases."""
    if path is None:
        return None
    digest, todo, visited = hashlib.sha256(), [Path(path).resolve()], set()
    while todo:
        file = todo.pop()
        if file in visited:
            continue
        visited.add(file)
        try:
            text = file.read_text()
            bases = list(_bases(text))
        except (OSError, ValueError, SyntaxError):
            return ''
        digest.update(text.encode())
        todo += [(file.parent / base).resolve() for base in bases]
    return digest.hexdigest()


def _bases(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and any(getattr(t, 'id', '') == '_base_' for t in node.targets):
            value = ast.literal_eval(node.value)
            yield from [value] if isinstance(value, str) else value


def read_state(out: str | os.PathLike) -> dict:
    """The record of the last complete run; {} if there was none."""
    try:
        state = json.loads(Path(out, FOLDER, STATE_FILE).read_text())
        return state if state.get('version') == VERSION else {}
    except (OSError, ValueError, AttributeError):
        return {}


def describe(root: str, sources: Iterable[tuple[str, str, str]], files: Iterable[str],
             folders: Iterable[tuple[str, str]]) -> dict:
    """Describe the files that must not change.

    Args:
        root: of the download.
        sources: (folder, suffix, suffix to leave out) of the files of the download.
        files: written by the run.
        folders: with the suffix of the files written into them.
    """
    listed: dict[str, Stamp] = {}
    sources = list(sources)
    for source in sources:
        listed |= list_files(root, *source)
    return dict(sources=[list(source) for source in sources], listed=fingerprint(listed),
                files={os.fspath(file): stamp(file) for file in files},
                folders=[[folder, suffix, fingerprint(list_files(folder, '', suffix))] for folder, suffix in folders])


def is_done(out: str | os.PathLike, root: str, options: dict) -> str | None:
    """The summary of the last run, if it had the same options and nothing has changed since."""
    state = read_state(out)
    if not state or state['options'] != options or options.get('config') == '':
        return None
    recorded = state['content']
    try:
        now = describe(root, [tuple(source) for source in recorded['sources']], recorded['files'],
                       [tuple(folder[:2]) for folder in recorded['folders']])
    except OSError:
        return None
    return state['summary'] if now == recorded else None
