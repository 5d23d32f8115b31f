"""Make the cache of a dataset: parallel, resumable, and again where a source has changed."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from ..datasets.fixed_part import run
from ..datasets.parallel import run_parallel
from ..files import write_output
from .entries import ARRAYS, SUFFIX, CacheError, Entry, entry_path, pack_entry, stamp
from .recipe import RECIPE_FILE, Recipe

_NOTHING = object()
SOURCES = ('img_path', 'seg_map_path')


@dataclass
class BuildReport:
    """What a run did.

    Args:
        folder: of the cache.
        digests: of the pixels of each entry, by its path below the folder.
        made: how many were made now; the others were there.
        removed: entries whose image is no longer there.
        size: bytes of all files together.
        failures: one message for each image that could not be read.
    """

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    made: int = 0
    removed: int = 0
    size: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Of the whole cache."""
        return hashlib.sha256(repr(sorted(self.digests.items())).encode()).hexdigest()

    def summary(self) -> str:
        """For people."""
        return f'{self.folder}: {len(self.digests)} images, {self.size / 1e9:.2f} GB'


def build_cache(infos: Iterable[dict], recipe: Recipe, root: str, out: Path, jobs: int = 1,
                again: Iterable[Path] = ()) -> BuildReport:
    """Write the entries that are missing or stale.

    Args:
        infos: the description of each sample, as `dataset.get_data_info` gives it.
        recipe: how to load and resize.
        root: folder below which all images lie.
        out: folder of all caches; this one goes to `out/recipe.name`.
        jobs: processes.
        again: entries that are to be made in any case.
    """
    report = BuildReport(Path(out) / recipe.name)
    paths = {entry_path(report.folder, info['img_path'], root): info for info in infos}
    if not (report.folder / RECIPE_FILE).is_file():
        write_output(report.folder / RECIPE_FILE, recipe.file(), clean=True)
    for path in set(_tidy(report.folder)) - paths.keys():
        if not os.path.exists(os.path.join(root, _name(path, report).removesuffix(SUFFIX))):
            path.unlink()
            report.removed += 1
    again, todo = set(again), []
    for path, info in paths.items():
        entry = None if path in again else _current(path, info)
        if entry is None:
            todo.append((path, info))
        else:
            report.digests[_name(path, report)], report.size = entry.header['digest'], report.size + entry.size
    task = partial(_make, recipe=recipe)
    for (path, _), result, failure in run_parallel(task, [_Item(item) for item in todo], jobs, 'cache'):
        if failure is None:
            report.digests[_name(path, report)], size = result
            report.made, report.size = report.made + 1, report.size + size
        else:
            report.failures.append(failure)
    return report


def verify_cache(report: BuildReport, jobs: int = 1) -> list[Path]:
    """The entries whose pixels are not those that were written; reads every file."""
    paths = [report.folder / name for name in report.digests]
    return [path for path, sound, failure in run_parallel(_is_sound, paths, jobs, 'verify') if failure or not sound]


class _Item(tuple):
    """Path and description of an entry; in messages, the image."""

    def __str__(self) -> str:
        return self[1]['img_path']


def _name(path: Path, report: BuildReport) -> str:
    return path.relative_to(report.folder).as_posix()


def _tidy(folder: Path) -> Iterable[Path]:
    """All entries; half-written files, which only a killed run leaves, are removed on the way."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name.endswith('.partial'):
                path.unlink(missing_ok=True)
            elif name.endswith(SUFFIX):
                yield path


def _current(path: Path, info: dict) -> Entry | None:
    """The entry, if it is there, whole, and made from the files as they are."""
    try:
        entry = Entry(path)
        return entry if entry.is_current(sources_of(info, entry)) else None
    except (CacheError, OSError):
        return None


def sources_of(info: dict, entry: Entry) -> dict[str, str]:
    """The files from which an entry was made, by key of the results."""
    return {key: info[key] for key in entry.header['stamps'] if key in info}


def _make(item: _Item, recipe: Recipe) -> tuple[str, int]:
    """One entry: its digest and its length."""
    path, info = item
    loads_labels = bool(recipe.labels)
    sources = {key: info[key] for key in SOURCES if key in info and (key == 'img_path' or loads_labels)}
    before = {key: stamp(source) for key, source in sources.items()}
    results = run(_transforms(recipe.text), dict(info, seg_fields=[]))
    if before != {key: stamp(source) for key, source in sources.items()}:
        raise OSError(f'{info["img_path"]}: this file or its label changed while it was read; wait until it has been '
                      'copied, and run again')
    added = {key: value for key, value in results.items()
             if key not in (*ARRAYS, 'seg_fields') and info.get(key, _NOTHING) is not value}
    data, digest = pack_entry(results, added, before)
    write_output(path, data, durable=False)  # thousands of files, and damage is noticed
    return digest, len(data)


@cache
def _transforms(text: str) -> list:
    """Built once in each process."""
    content = json.loads(text)
    return Recipe(tuple(content['transforms']), content['labels']).build()


def _is_sound(path: Path) -> bool:
    return Entry(path).is_sound()
