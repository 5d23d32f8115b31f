"""Build the cache of a dataset in parallel, resumably, and only the entries whose sources have changed."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from ..datasets.fixed_part import run_transforms
from ..datasets.scanning import run_parallel
from ..files import remove_leftovers, write_output
from .entries import ARRAYS, SUFFIX, CacheError, Entry, entry_path, pack_entry, stamp
from .recipe import RECIPE_FILE, Recipe

_MISSING = object()
SOURCES = ('img_path', 'seg_map_path')


@dataclass
class BuildReport:
    """Results of a run."""

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)  # of the pixels of each entry, by its path below the folder
    num_written: int = 0  # entries written now; the others existed
    num_removed: int = 0  # entries whose image no longer exists
    size: int = 0  # bytes of all files together
    failures: list[str] = field(default_factory=list)  # one message for each image that could not be read

    @property
    def digest(self) -> str:
        """Of the whole cache."""
        return hashlib.sha256(repr(sorted(self.digests.items())).encode()).hexdigest()

    def summary(self) -> str:
        """Folder, number of images and size."""
        return f'{self.folder}: {len(self.digests)} images, {self.size / 1e9:.2f} GB'

    def add(self, path: Path, digest: str, size: int) -> None:
        """Record an entry."""
        self.digests[self.name_of(path)] = digest
        self.size += size

    def name_of(self, path: Path) -> str:
        """Path of an entry below the folder."""
        return path.relative_to(self.folder).as_posix()


def build_cache(infos: Iterable[dict], recipe: Recipe, root: str, out: str | Path, jobs: int = 1,
                rebuild: Iterable[Path] = ()) -> BuildReport:
    """Write the entries that are missing or stale, and those to `rebuild` in any case, to the folder `out/recipe.name`.

    Args:
        infos: the description of each sample, as `dataset.get_data_info` returns it.
        root: folder below which all images lie.
    """
    report = BuildReport(Path(out) / recipe.name)
    paths = {entry_path(report.folder, info['img_path'], root): info for info in infos}
    if not (report.folder / RECIPE_FILE).is_file():
        write_output(report.folder / RECIPE_FILE, recipe.file(), clean=True)
    for path in set(_clean_entries(report.folder)) - paths.keys():
        if not os.path.exists(os.path.join(root, report.name_of(path).removesuffix(SUFFIX))):
            path.unlink(missing_ok=True)
            report.num_removed += 1
    rebuild, todo = set(rebuild), []
    for path, info in paths.items():
        entry = None if path in rebuild else _current_entry(path, info)
        if entry is None:
            todo.append(_Item((path, info)))
        else:
            report.add(path, entry.header['digest'], entry.size)
    for index, result, failure in run_parallel(partial(_write_entry, recipe=recipe), todo, jobs, 'cache'):
        if failure is None:
            report.add(todo[index][0], *result)
            report.num_written += 1
        else:
            report.failures.append(failure)
    return report


def verify_cache(report: BuildReport, jobs: int = 1) -> list[Path]:
    """Entries whose pixels do not match their digests; reads every file."""
    paths = [report.folder / name for name in report.digests]
    return [paths[index] for index, intact, failure in run_parallel(_is_intact, paths, jobs, 'verify')
            if failure or not intact]


class _Item(tuple):
    """Path and description of an entry; in messages, the image."""

    def __str__(self) -> str:
        return self[1]['img_path']


def _clean_entries(folder: Path) -> Iterator[Path]:
    """Yield all entries; remove the partial files of killed runs, but not those of a run at the same time."""
    for place, _, names in os.walk(folder):
        if any(name.endswith('.partial') for name in names):
            remove_leftovers(Path(place))
        yield from (Path(place, name) for name in names if name.endswith(SUFFIX))


def _current_entry(path: Path, info: dict) -> Entry | None:
    """The entry, if it exists, is whole, and was built from the files as they are now."""
    try:
        entry = Entry(path)
        return entry if entry.is_current(info) else None
    except (CacheError, OSError):
        return None


def _write_entry(item: _Item, recipe: Recipe) -> tuple[str, int]:
    """Write one entry; return its digest and its length."""
    path, info = item
    sources = {key: info[key] for key in SOURCES if key in info and (key == 'img_path' or recipe.labels)}
    before = {key: stamp(source) for key, source in sources.items()}
    results = run_transforms(_transforms(recipe.text), dict(info, seg_fields=[]))
    if before != {key: stamp(source) for key, source in sources.items()}:
        raise OSError(f'{info["img_path"]}: this file or its label changed while it was read; wait until it has been '
                      'copied, and run again')
    added = {key: value for key, value in results.items()
             if key not in (*ARRAYS, 'seg_fields') and info.get(key, _MISSING) is not value}
    data, digest = pack_entry(results, added, before)
    write_output(path, data, durable=False)  # thousands of files, whose damage is noticed
    return digest, len(data)


@cache
def _transforms(text: str) -> list:
    """Built once in each process."""
    content = json.loads(text)
    return Recipe(tuple(content['transforms']), content['labels']).build()


def _is_intact(path: Path) -> bool:
    return Entry(path).is_intact()
