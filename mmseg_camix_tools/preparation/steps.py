"""Prepare a download for training, step by step; each step does only what is missing."""

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from mmengine.registry import DefaultScope

from mmseg_camix.cache import Recipe
from mmseg_camix.datasets.class_counts import STATS_FILE
from mmseg_camix.datasets.defects import DEFECTS_FILE, KINDS, Defects
from mmseg_camix.datasets.encodings import get_encoding
from mmseg_camix.engine.hooks.run_folder_hook import lock_folder
from mmseg_camix.files import write_output

from .class_stats import INDEX_FILE, write_statistics
from .configured import build_reader, family_configs, fill_cache, group_by_recipe
from .conversion import convert
from .layouts import Layout, layout_of
from .pairs import Pair, defects_of, list_pairs, scan_pairs, statistics_of
from .priors import build_prior, default_path
from .state import FOLDER, STATE_FILE, VERSION, describe


class NotReady(RuntimeError):
    """The download is incomplete; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What `prepare` has to do."""

    # a config that trains on the family; prior and cache are built for its pipeline and its list
    config: str | None = None
    cache: bool = False  # build the cache
    prior: bool = True  # build the spatial prior, where the family is a source
    prior_out: str | None = None  # its file; None means where the configs look for it
    train_ids: bool = False  # also write train-id PNGs
    any_count: bool = False  # accept a part of the download
    verify: bool = False  # read the whole cache again and compare it with its digests
    jobs: int = 1  # processes


@dataclass
class Outcome:
    """Results of a run."""

    lines: list[str] = field(default_factory=list)  # of the summary
    # of each result, by its name; they do not depend on when and where it was made
    digests: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # errors of the machine, such as missing permissions
    files: list[Path] = field(default_factory=list)  # written now or earlier
    folders: list[tuple[str, str]] = field(default_factory=list)  # the same, each with the suffix of the files in it
    changed: bool = False  # whether anything was done

    def add(self, title: str, text: str) -> None:
        """Add a line to the summary."""
        self.lines.append(f'  {title:<11} {text}')

    def summary(self) -> str:
        """All lines."""
        return '\n'.join(self.lines)


def prepare(family: str, root: Path, out: Path, options: Options, recorded: dict) -> Outcome:
    """Check a download and build everything that training needs.

    Args:
        root: folder of the download; nothing is written there, unless `out`, the folder of the results, is the same.
        recorded: the options in the form in which the next run asks whether it is done.
    """
    layout, work = layout_of(family, root), out / FOLDER
    if options.train_ids and not layout.train_id_suffix:
        raise NotReady(f'--train-ids: {family} has no files of train ids; leave the option out')
    nodes = family_configs(options.config, layout) if options.config else []
    pairs = list_pairs(root, layout)
    _refuse_incomplete(root, layout, pairs, options.any_count)
    write_output(work / 'README', 'State of mmseg-camix prepare for its next run; may be deleted.\n', clean=True)
    with lock_folder(work, 'preparation', '--out') or nullcontext(), DefaultScope.overwrite_default_scope('mmseg'):
        before = describe(str(root), layout.sources(), [], [])  # later changes count as new
        run = _Run(layout, root, out, options, Outcome([f'{family} in {root}']))
        run.check(pairs)
        if not run.outcome.problems:
            run.derive(nodes)
        outcome = run.outcome
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
    problems = []
    for part in layout.parts:
        images = sum(pair.image is not None for pair in pairs[part.name])
        labels = sum(pair.label is not None for pair in pairs[part.name])
        if images == 0 and not part.needed:
            continue
        if images == 0:
            raise NotReady(f'{root / part.images}: no file ends in {layout.image_suffix!r}. ROOT is the folder of '
                           f'{layout.reader.describe_download(str(root))}')
        if images != part.count:
            problems.append(f'{part.images} holds {images} of {part.count} images')
        if part.labels and labels != part.count and (part.labels_needed or labels):
            lacking = [str(pair) for pair in pairs[part.name] if pair.label is None][:3]
            hint = f' (none for {", ".join(lacking)}{", ..." if images - labels > 3 else ""})' if lacking else ''
            problems.append(f'{part.labels} holds {labels} of {part.count} labels{hint}')
    if problems and not any_count:
        raise NotReady(f'{root}: the download is not complete: {"; ".join(problems)}. Unpack all of its archives '
                       'again; or, if these are the images that you want, add --any-count, which lists files without a '
                       'partner as defects')


@dataclass
class _Run:
    """The steps of a run."""

    layout: Layout
    root: Path
    out: Path
    options: Options
    outcome: Outcome

    def check(self, pairs: dict[str, list[Pair]]) -> None:
        """Read every file; write the list of defects and the class statistics."""
        layout, outcome = self.layout, self.outcome
        all_pairs = [pair for part in layout.parts for pair in pairs[part.name]]
        labelled = {part.name for part in layout.parts
                    if part.labels and (part.labels_needed or any(pair.label for pair in pairs[part.name]))}
        result = scan_pairs(self.root, all_pairs, layout.ids, labelled, self.out / FOLDER, self.options.jobs,
                            f'{layout.family}: files')
        outcome.problems += result.failures
        outcome.changed |= result.num_read > 0
        for part in layout.parts:
            images = sum(pair.image is not None for pair in pairs[part.name])
            labels = sum(pair.label is not None for pair in pairs[part.name])
            if images:
                outcome.add(part.name, f'{images} images, {labels or "no"} labels')
        self._write_defects(Defects(layout.family, defects_of(all_pairs, result.entries)))
        if statistics := statistics_of(all_pairs, result.entries):
            classes = get_encoding(layout.ids).classes
            outcome.changed |= write_statistics(self.out, statistics, not result.failures, classes)[1]
            outcome.files += [self.out / STATS_FILE, self.out / INDEX_FILE]
            counts = sorted((name, entry['pixels'], entry['ignored']) for name, entry in statistics.items())
            outcome.digests['statistics'] = sha256(repr(counts).encode()).hexdigest()
            outcome.add('classes', f'{self.out / STATS_FILE}: counted in {len(statistics)} labels')

    def _write_defects(self, defects: Defects) -> None:
        text, path, outcome = defects.text(), self.out / DEFECTS_FILE, self.outcome
        if not path.is_file() or path.read_text() != text:
            write_output(path, text, clean=True)
            outcome.changed = True
        outcome.files.append(path)
        outcome.digests['defects'] = sha256(text.encode()).hexdigest()
        if not defects.items:
            outcome.add('defects', 'none')
            return
        counts = {kind: sum(defect.kind == kind for defect in defects.items) for kind in KINDS}
        listed = '; '.join(f'{count} x {KINDS[kind]}' for kind, count in counts.items() if count)
        outcome.add('defects', f'{len(defects.items)} ({listed}), listed in {path}; training stops at them unless the '
                               f"dataset has skip='{DEFECTS_FILE}'")
        outcome.lines += [f'    {defect}' for defect in defects.items[:5]] + ['    ...'] * (len(defects.items) > 5)

    def derive(self, nodes: list[dict]) -> None:
        """Build train ids, prior and caches of the intact files."""
        if self.options.train_ids:
            self._convert()
        readers = [build_reader(node, self.root, self.out) for node in nodes]
        if self.options.prior and self.layout.prior_size:
            self._build_prior(readers)
        if self.options.cache:
            for recipe, infos in group_by_recipe(readers):
                self._build_cache(recipe, infos)

    def _convert(self) -> None:
        written, skipped, failures = convert(self.layout.family, self.root, self.options.jobs)
        suffix = self.layout.train_id_suffix
        self.outcome.changed |= written > 0
        self.outcome.add('train ids', f'{written + skipped} files end in {suffix}, {len(failures)} not made')
        folders = {part.labels for part in self.layout.parts if part.labels}
        self.outcome.folders += [(str(self.root / folder), suffix) for folder in sorted(folders)]

    def _build_prior(self, readers: list[tuple]) -> None:
        labelled = [reader for reader in readers if 'seg_map_path' in reader[0].data_prefix]
        if not labelled:
            skip = str(self.out.resolve() / DEFECTS_FILE)
            labelled = [(self.layout.reader(data_root=str(self.root), skip=skip), [])]
        path = Path(self.options.prior_out) if self.options.prior_out else default_path(self.root)
        prior, action = build_prior(*labelled[0], self.layout.prior_size, path, self.out / FOLDER, self.options.jobs)
        self.outcome.changed |= action == 'counted'
        self.outcome.files.append(path)
        self.outcome.digests['prior'] = prior.digest
        kept = '; kept, because it was not made here: delete it, or choose --prior-out' if action == 'foreign' else ''
        self.outcome.add('prior', f'{path}: {prior.num_images} labels at {prior.size[1]}x{prior.size[0]}{kept}')

    def _build_cache(self, recipe: Recipe, infos: list[dict]) -> None:
        report = fill_cache(infos, recipe, str(self.root), self.out / 'cache', self.options.jobs, self.options.verify)
        self.outcome.problems += report.failures
        self.outcome.changed |= report.num_written + report.num_removed > 0
        self.outcome.digests[f'cache {report.folder.name}'] = report.digest
        self.outcome.folders.append((str(report.folder), '.cache'))
        self.outcome.add('cache', f'{report.summary()}, of {recipe.summary()}')
