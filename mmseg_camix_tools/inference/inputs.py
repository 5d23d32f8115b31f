"""Images and videos among the files, folders and patterns that a user gives, with names for the results."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from mmseg_camix.files import PrintableError

IMAGES = ('.png', '.jpg', '.jpeg', '.jpe', '.jp2', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pbm')
VIDEOS = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv')


class InputsError(PrintableError):
    """There is nothing to predict on, or no place for the results; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Item:
    """An image or a video."""

    path: Path
    name: Path
    """Of its result: relative, without suffix. Below a folder that was given, the path within it."""
    is_video: bool


def find_items(inputs: Iterable[str], out: Path | None = None) -> list[Item]:
    """Images and videos, in the order given, those of a folder sorted.

    Args:
        inputs: files (of any suffix), folders (searched through, hidden files left out), or patterns
            such as 'a/**/*.jpg' for shells that do not expand them.
        out: folder of the results; None if there are none. What is found in it by searching is no input, but the
            result of an earlier call.
    """
    items: list[Item] = []
    for given in inputs:
        items.extend(_items(given, out and out.resolve()))
    if out is not None:
        _refuse_clashes(items)
    return items


def _items(given: str, out: Path | None) -> list[Item]:
    path = Path(given)
    if path.is_file():
        return [_item(path, Path(path.name))]
    if path.is_dir():
        root, files = path, sorted(_files_below(path))
    elif glob.has_magic(given):
        root, files = _fixed_part(path), [Path(file) for file in sorted(glob.glob(given, recursive=True))]
    else:
        raise InputsError(f'{given}: no such file or folder')
    files = [file for file in files if _is_input(file, root)]
    if not files:
        raise InputsError(f'{given}: no image or video there; known suffixes are {", ".join(IMAGES + VIDEOS)}')
    ours = [file for file in files if out not in file.resolve().parents]
    if not ours:
        raise InputsError(f'{given}: all of its images lie in --out, {out}, where results are written; choose another')
    return [_item(file, file.relative_to(root)) for file in ours]


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, linked folders included, as data sets list them; links to folders above are not.

    Of several links to one folder the first is followed: links to one another would be 2**40 folders.
    """
    linked: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here, followed = Path(place).resolve(), []
        for name in sorted(folders):
            target = (here / name).resolve()
            is_link = (here / name).is_symlink()
            if target not in (here, *here.parents) and not (is_link and target in linked):
                followed.append(name)
                linked |= {target} if is_link else set()
        folders[:] = followed
        yield from (Path(place, name) for name in names)


def _item(path: Path, name: Path) -> Item:
    return Item(path, name.with_name(name.stem), path.suffix.lower() in VIDEOS)


def _is_input(file: Path, root: Path) -> bool:
    hidden = any(part.startswith('.') for part in file.relative_to(root).parts)
    return not hidden and file.suffix.lower() in IMAGES + VIDEOS and file.is_file()


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first part with a wildcard."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _refuse_clashes(items: Sequence[Item]) -> None:
    sources: dict[tuple[Path, bool], Path] = {}
    for item in items:
        key = (item.name, item.is_video)
        if sources.setdefault(key, item.path) != item.path:
            raise InputsError(f'{sources[key]} and {item.path} would both be written as {item.name}; call once for '
                              'each, with another --out')
