"""Results as Markdown tables and plots."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from mmseg_camix.files import atomic_write

from .suites import Results, Row, Run

Entries = list[tuple[Row, list[dict]]]
"""Rows that have results, with the results of their seeds."""
FLOOR, CEILING = 'Source only', 'Oracle'
"""Names of the rows between whose scores of the student lies the gap that a method closes."""


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A Markdown table whose columns are aligned right, except those whose numbers are in `left`."""
    rule = '|' + ''.join('---|' if index in left else '---:|' for index in range(len(head)))
    first, *others = (f'| {" | ".join(cells)} |' for cells in (head, *rows))
    return '\n'.join([first, rule, *others])


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation as ``41.0 ± 0.8``; a single value without deviation."""
    if not values:
        return '-'
    return f'{mean(values):.1f} ± {stdev(values):.1f}' if len(values) > 1 else f'{values[0]:.1f}'


def collect(rows: Iterable[Row], runs: Sequence[Run], results: Results) -> Entries:
    """The recorded results of each row; rows without any are left out."""
    entries = [(row, [entry for run in runs if run.row.name == row.name and (entry := results.get(run))])
               for row in rows]
    return [(row, seeds) for row, seeds in entries if seeds]


def summary_table(entries: Entries) -> str:
    """One line per row: mIoU of both networks on the target, lost classes, seeds, and the config to run."""
    source_val, closed = any(row.source_val for row, _ in entries), _closed_shares(entries)
    head = ['method', 'student mIoU', 'teacher mIoU', *(['gap closed, %'] if closed else []),
            *(['source val mIoU'] if source_val else []), 'classes below 1 %', 'seeds', 'config']
    lines = []
    for row, seeds in entries:
        means = [spread(_values(seeds, f'{network}/mIoU')) for network in ('student', 'teacher')]
        means += [closed[row.name]] if closed else []
        means += [spread([seed['source_val'] for seed in seeds if 'source_val' in seed])] if source_val else []
        lost = mean(sum(value < 1 for key, value in seed['metrics'].items() if key.startswith('student/IoU.'))
                    for seed in seeds)
        options = ' '.join(f'{key}={value}' for key, value in row.options.items())
        lines.append([row.name, *means, f'{lost:.1f}', str(len(seeds)),
                      f'`{row.config}`' + (f' with `{options}`' if options else '')])
    return markdown(head, lines, left=(0, len(head) - 1))


def _closed_shares(entries: Entries) -> dict[str, str]:
    """Row -> shares of the gap between floor and ceiling, student / teacher; {} if one of these two is missing."""
    scores = {row.name: [mean(values) if (values := _values(seeds, f'{network}/mIoU')) else None
                         for network in ('student', 'teacher')] for row, seeds in entries}
    if not {FLOOR, CEILING} <= scores.keys():
        return {}
    floor, ceiling = scores[FLOOR][0], scores[CEILING][0]
    return {name: '' if name in (FLOOR, CEILING) or ceiling <= floor else
            ' / '.join('-' if value is None else f'{100 * (value - floor) / (ceiling - floor):.0f}' for value in both)
            for name, both in scores.items()}


def missing_runs(runs: Sequence[Run], results: Results) -> str:
    """A sentence that names the rows, and the seeds of incomplete rows, without results; empty if there are none."""
    parts = []
    for name in dict.fromkeys(run.row.name for run in runs):
        seeds = [run for run in runs if run.row.name == name]
        missing = [f'seed {run.seed}' for run in seeds if results.get(run) is None]
        if missing:
            parts.append(f'"{name}"' + ('' if len(missing) == len(seeds) else f' ({", ".join(missing)})'))
    return f'Not run yet: {"; ".join(parts)}.' if parts else ''


def class_table(entries: Entries) -> str:
    """IoU of each class (student, mean over seeds), one line per row."""
    names = [key.split('.', 1)[1] for key in entries[0][1][0]['metrics'] if key.startswith('student/IoU.')]
    values = [[_values(seeds, f'student/IoU.{name}') for name in names] for _, seeds in entries]
    return markdown(['student IoU', *names], [[row.name, *(f'{mean(v):.0f}' if v else '-' for v in line)]
                                              for (row, _), line in zip(entries, values)])


def _values(seeds: list[dict], key: str) -> list[float]:
    return [seed['metrics'][key] for seed in seeds if key in seed['metrics']]


def replace_section(path: Path, name: str, content: str) -> None:
    """Put content between ``<!-- begin name -->`` and ``<!-- end name -->`` of a Markdown file."""
    text = path.read_text()
    pattern = re.compile(rf'(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)', re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f'{path} has no section "<!-- begin {name} --> ... <!-- end {name} -->"; add it')
    atomic_write(path, pattern.sub(lambda match: f'{match[1]}\n{content}\n\n{match[2]}', text))


def plot_curves(entries: Entries, path: Path, title: str) -> None:
    """Plot the student's target mIoU over iterations: mean of the seeds, with their range."""
    figure = Figure(figsize=(10, 5), layout='constrained')
    axes = figure.subplots()
    for index, (row, seeds) in enumerate((row, seeds) for row, seeds in entries if row.curve):
        iterations = [iteration for iteration, _ in seeds[0]['curve']]
        columns = list(zip(*([metrics['student/mIoU'] for _, metrics in seed['curve']] for seed in seeds)))
        line, = axes.plot(iterations, list(map(mean, columns)), '-' if index < 10 else '--', marker='o', markersize=3,
                          label=row.name)
        axes.fill_between(iterations, list(map(min, columns)), list(map(max, columns)), color=line.get_color(),
                          alpha=0.15)
    axes.set(title=title, xlabel='iteration', ylabel='target mIoU of the student (%)')
    axes.grid(alpha=0.3)
    _save(figure, path)


def plot_classes(entries: Entries, path: Path, title: str) -> None:
    """Plot the student's IoU of each class as bars, mean of the seeds, one colour per plotted row."""
    figure = Figure(figsize=(12, 4.5), layout='constrained')
    axes = figure.subplots()
    rows = [(row, seeds) for row, seeds in entries if row.curve]
    names = [key.removeprefix('student/IoU.') for key in rows[0][1][0]['metrics'] if key.startswith('student/IoU.')]
    for index, (row, seeds) in enumerate(rows):
        places = [place + 0.85 * (index + 0.5) / len(rows) for place in range(len(names))]
        axes.bar(places, [mean(_values(seeds, f'student/IoU.{name}') or [0]) for name in names], 0.85 / len(rows),
                 label=row.name, color=f'C{index % 10}', alpha=1 if index < 10 else 0.5)
    axes.set_xticks([place + 0.425 for place in range(len(names))], names)
    axes.set(title=title, ylabel='IoU of the student (%)')
    axes.grid(axis='y', alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.legend(loc='outside right upper', fontsize=8)  # not over the curves
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
