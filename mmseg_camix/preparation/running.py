"""All that a download needs before one trains on it, step by step; each step does only what is missing."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from mmengine.registry import DefaultScope

from ..cache import Recipe
from ..datasets.defects import DEFECTS_FILE, KINDS, Defects
from ..files import write_output
from .caching import fill_cache, recipes_of
from .class_stats import INDEX_FILE, STATS_FILE, write_statistics
from .configs import build_reader, configs_of
from .conversion import convert
from .layouts import LAYOUTS, Layout
from .priors import build_prior, default_path
from .scanning import Pair, list_pairs, scan
from .state import FOLDER, STATE_FILE, VERSION, describe


class NotReady(RuntimeError):
    """The download is not what it should be, or another run is at work; says what to do."""


@dataclass(frozen=True)
class Options:
    """What prepare.py is asked for.

    Args:
        config: a config that trains on the family; prior and cache are made for its pipeline and its list.
        cache: build the cache.
        prior: build the spatial prior, where the family is a source.
        prior_out: where to; None means where the configs look for it.
        train_ids: write train-id PNGs, too.
        any_count: accept a part of the download.
        verify: read the whole cache again and compare it with its digests.
        jobs: processes.
    """

    config: str | None = None
    cache: bool = False
    prior: bool = True
    prior_out: str | None = None
    train_ids: bool = False
    any_count: bool = False
    verify: bool = False
    jobs: int = 1


@dataclass
class Outcome:
    """What a run found and made.

    Args:
        lines: of the summary.
        digests: of each result, by its name; they do not depend on when and where it was made.
        problems: what the machine kept from being done.
        files: that were written, also earlier.
        folders: the same, each with the end of the files in it.
        did: whether there was anything to do.
    """

    lines: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    folders: list[tuple[str, str]] = field(default_factory=list)
    did: bool = False

    def add(self, title: str, text: str) -> None:
        """A line of the summary."""
        self.lines.append(f'  {title:<11} {text}')

    def summary(self) -> str:
        """All lines."""
        return '\n'.join(self.lines)


def prepare(family: str, root: Path, out: Path, options: Options, recorded: dict) -> Outcome:
    """Check a download and make everything of it that training needs.

    Args:
        family: name in `LAYOUTS`.
        root: folder of the download; nothing is written there, unless `out` is the same.
        out: folder of the results.
        options: what is asked for.
        recorded: the same in the form in which the next run asks whether it is done.
    """
    layout, work = LAYOUTS[family], out / FOLDER
    nodes = configs_of(options.config, layout) if options.config else []
    pairs = list_pairs(root, layout)
    _refuse_incomplete(root, layout, pairs, options.any_count)
    write_output(work / 'README', 'What tools/dataset/prepare.py keeps for its next run; may be deleted.\n', clean=True)
    with _alone(work, root), DefaultScope.overwrite_default_scope('mmseg'):
        before = describe(str(root), layout.sources(), [], [])  # what changes from now on counts as new
        outcome = Outcome([f'{family} in {root}'])
        _check(layout, root, out, work, pairs, options, outcome)
        if not outcome.problems:
            _derive(layout, root, out, nodes, options, outcome)
        if not outcome.problems:
            content = describe(str(root), [], [str(file) for file in outcome.files], outcome.folders)
            content |= {key: before[key] for key in ('sources', 'listed')}
            write_output(work / STATE_FILE, json.dumps(dict(
                version=VERSION, options=recorded, content=content, summary=outcome.summary(),
                digests=outcome.digests)), clean=True)
    return outcome


def _refuse_incomplete(root: Path, layout: Layout, pairs: dict[str, list[Pair]], any_count: bool) -> None:
    if not root.is_dir():
        raise NotReady(f'{root}: no such folder; ROOT is the folder of {layout.reader.DOWNLOAD}')
    wrong = []
    for part in layout.parts:
        images = sum(pair.image is not None for pair in pairs[part.name])
        labels = sum(pair.label is not None for pair in pairs[part.name])
        if images == 0 and not part.needed:
            continue
        if images == 0:
            raise NotReady(f'{root / part.images}: no file ends in {part.image_suffix!r}. ROOT is the folder of '
                           f'{layout.reader.DOWNLOAD}')
        if images != part.count:
            wrong.append(f'{part.images} holds {images} of {part.count} images')
        if part.labels and labels != part.count and (part.labels_needed or labels):
            lacking = [str(pair) for pair in pairs[part.name] if pair.label is None][:3]
            hint = f' (none for {", ".join(lacking)}{", ..." if images - labels > 3 else ""})' if lacking else ''
            wrong.append(f'{part.labels} holds {labels} of {part.count} labels{hint}')
    if wrong and not any_count:
        raise NotReady(f'{root}: the download is not complete: {"; ".join(wrong)}. Unpack all of its archives again; '
                       'or, if these are the images that you want, add --any-count, which lists what lacks its partner '
                       'as a defect')


@contextmanager
def _alone(work: Path, root: Path) -> Iterator[None]:
    """Two runs at once would do everything twice; the lock ends with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with open(work / 'lock', 'a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise NotReady(f'{root}: another run is at work here (process {file.read().strip()}); wait for it, or end '
                           'it') from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _check(layout: Layout, root: Path, out: Path, work: Path, pairs: dict[str, list[Pair]], options: Options,
           outcome: Outcome) -> None:
    """Look at every file; write the list of defects and the class statistics."""
    every = [pair for part in layout.parts for pair in pairs[part.name]]
    labelled = {part.name for part in layout.parts
                if part.labels and (part.labels_needed or any(pair.label for pair in pairs[part.name]))}
    looked = scan(root, every, layout.ids, labelled, work, options.jobs, f'{layout.family}: files')
    outcome.problems += looked.problems
    outcome.did |= looked.looked_at > 0
    for part in layout.parts:
        images, labels = ([getattr(pair, kind) for pair in pairs[part.name] if getattr(pair, kind)]
                          for kind in ('image', 'label'))
        if images:
            outcome.add(part.name, f'{len(images)} images, {len(labels) or "no"} labels')
    defects = Defects(layout.family, looked.defects(every))
    _write_defects(defects, out, outcome)
    statistics = looked.statistics(every)
    if statistics:
        outcome.did |= write_statistics(out, statistics, complete=not looked.problems)[1]
        outcome.files += [out / STATS_FILE, out / INDEX_FILE]
        counts = sorted((name, entry['pixels'], entry['ignored']) for name, entry in statistics.items())
        outcome.digests['statistics'] = sha256(repr(counts).encode()).hexdigest()
        outcome.add('classes', f'{out / STATS_FILE}: counted in {len(statistics)} labels')


def _write_defects(defects: Defects, out: Path, outcome: Outcome) -> None:
    text, path = defects.text(), out / DEFECTS_FILE
    if not path.is_file() or path.read_text() != text:
        write_output(path, text, clean=True)
        outcome.did = True
    outcome.files.append(path)
    outcome.digests['defects'] = sha256(text.encode()).hexdigest()
    if not defects.found:
        outcome.add('defects', 'none')
        return
    kinds = {kind: sum(defect.kind == kind for defect in defects.found) for kind in KINDS}
    listed = '; '.join(f'{count} x {KINDS[kind]}' for kind, count in kinds.items() if count)
    outcome.add('defects', f'{len(defects.found)} ({listed}), listed in {path}; training stops at them unless the '
                           f"dataset has skip='{DEFECTS_FILE}'")
    outcome.lines += [f'    {defect}' for defect in defects.found[:5]] + ['    ...'] * (len(defects.found) > 5)


def _derive(layout: Layout, root: Path, out: Path, nodes: list[dict], options: Options, outcome: Outcome) -> None:
    """Train ids, prior and cache, of what is sound."""
    if options.train_ids:
        _convert(layout, root, options, outcome)
    readers = [build_reader(node, root, out) for node in nodes]
    if options.prior and layout.prior_size:
        labelled = [one for one in readers if 'seg_map_path' in one[0].data_prefix]
        default = layout.reader(data_root=str(root), skip=str(out.resolve() / DEFECTS_FILE)), []
        path = Path(options.prior_out) if options.prior_out else default_path(root)
        dataset, pipeline = labelled[0] if labelled else default
        prior, how = build_prior(dataset, pipeline, layout.prior_size, path, out / FOLDER, options.jobs)
        outcome.did |= how == 'made'
        outcome.files.append(path)
        outcome.digests['prior'] = prior.digest
        kept = '; made by somebody else, and kept: delete it, or choose --prior-out' if how == 'kept' else ''
        outcome.add('prior', f'{path}: {prior.num_images} labels at {prior.size[1]}x{prior.size[0]}{kept}')
    if options.cache:
        for recipe, infos in recipes_of(readers):
            _cache(recipe, infos, root, out, options, outcome)


def _convert(layout: Layout, root: Path, options: Options, outcome: Outcome) -> None:
    written, there, failures = convert(layout.family, root, options.jobs)
    outcome.did |= written > 0
    outcome.add('train ids', f'{written + there} files end in {layout.derived_suffix}, {len(failures)} not made')
    folders = {part.labels for part in layout.parts if part.labels}
    outcome.folders += [(str(root / folder), layout.derived_suffix) for folder in sorted(folders)]


def _cache(recipe: Recipe, infos: list[dict], root: Path, out: Path, options: Options, outcome: Outcome) -> None:
    report = fill_cache(infos, recipe, str(root), out / 'cache', options.jobs, options.verify)
    outcome.problems += report.failures
    outcome.did |= report.made + report.removed > 0
    outcome.digests[f'cache {report.folder.name}'] = report.digest
    outcome.folders.append((str(report.folder), '.cache'))
    outcome.add('cache', f'{report.summary()}, of {recipe.summary()}')
