"""Benchmark results as Markdown tables and plots."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean, stdev

from mmseg_camix.files import atomic_write

from .suites import Results, Row, Run

NETWORKS = ('student', 'teacher')


def spread(values: list[float]) -> str:
    """Mean and standard deviation, as ``41.0 +- 0.8``; of one value, the value."""
    if not values:
        return '-'
    return f'{mean(values):.1f} ± {stdev(values):.1f}' if len(values) > 1 else f'{values[0]:.1f}'


def entries_of(row: Row, runs: list[Run], results: Results) -> list[dict]:
    """The recorded results of a row, seed by seed."""
    found = (results.get(run) for run in runs if run.row.name == row.name)
    return [entry for entry in found if entry is not None]


def markdown_table(rows: list[Row], runs: list[Run], results: Results) -> str:
    """One line per row: mIoU of both networks on the target, classes lost, seeds, and how to run it."""
    source_val = any(row.source_val for row in rows)
    head = ['method', 'student mIoU', 'teacher mIoU', *(['source val mIoU'] if source_val else []),
            'classes below 1 %', 'seeds', 'config']
    lines = ['| ' + ' | '.join(head) + ' |', '|---|' + '---:|' * (len(head) - 2) + '---|']
    for row in rows:
        entries = entries_of(row, runs, results)
        if not entries:
            continue
        cells = [row.name, *(spread(_values(entries, f'{name}/mIoU')) for name in NETWORKS)]
        if source_val:
            cells.append(spread([e['source_val'] for e in entries if 'source_val' in e]))
        cells += [f'{mean(_lost_classes(entry) for entry in entries):.1f}', str(len(entries)), _link(row)]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def not_run(rows: list[Row], runs: list[Run], results: Results) -> str:
    """A sentence that names what the table lacks, with the seeds of rows that have some; else empty."""
    lacking = []
    for row in rows:
        seeds = [run.seed for run in runs if run.row.name == row.name]
        missing = [run.seed for run in runs if run.row.name == row.name and results.get(run) is None]
        if missing:
            which = '' if len(missing) == len(seeds) else f' ({", ".join(f"seed {seed}" for seed in missing)})'
            lacking.append(f'"{row.name}"{which}')
    return f'Not run yet: {"; ".join(lacking)}.' if lacking else ''


def _values(entries: list[dict], key: str) -> list[float]:
    return [entry['metrics'][key] for entry in entries if key in entry['metrics']]


def _lost_classes(entry: dict) -> int:
    """Classes that the student has lost: their IoU is below 1 %."""
    return sum(value < 1 for key, value in entry['metrics'].items() if key.startswith('student/IoU.'))


def _link(row: Row) -> str:
    options = ' '.join(f'{key}={value}' for key, value in row.options.items())
    return f'`{row.config}`' + (f' with `{options}`' if options else '')


def class_table(rows: list[Row], runs: list[Run], results: Results) -> str:
    """IoU of each class (student, mean over seeds), one line per row."""
    names: list[str] = []
    lines = []
    for row in rows:
        entries = entries_of(row, runs, results)
        if not entries:
            continue
        names = names or [key.split('.', 1)[1] for key in entries[0]['metrics'] if key.startswith('student/IoU.')]
        values = [_values(entries, f'student/IoU.{name}') for name in names]
        lines.append('| ' + ' | '.join([row.name, *(f'{mean(v):.0f}' if v else '-' for v in values)]) + ' |')
    head = ['| ' + ' | '.join(['student IoU', *names]) + ' |', '|---|' + '---:|' * len(names)]
    return '\n'.join([*head, *lines])


def replace_section(path: Path, name: str, content: str) -> None:
    """Put content between ``<!-- begin name -->`` and ``<!-- end name -->`` of a Markdown file."""
    text = path.read_text()
    pattern = re.compile(rf'(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)', re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f'{path} has no section "<!-- begin {name} --> ... <!-- end {name} -->" to write to')
    atomic_write(path, pattern.sub(lambda found: f'{found[1]}\n{content}\n\n{found[2]}', text))


def plot_curves(rows: list[Row], runs: list[Run], results: Results, path: Path, title: str) -> None:
    """Target mIoU of the student over iterations, mean of the seeds with their range."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(10, 5), layout='constrained')
    for index, row in enumerate(row for row in rows if row.curve):
        entries = entries_of(row, runs, results)
        if not entries:
            continue
        iterations = [point[0] for point in entries[0]['curve']]
        seeds = [[point[1]['student/mIoU'] for point in entry['curve']] for entry in entries]
        columns = list(zip(*seeds))
        style = '-' if index < 10 else '--'
        line, = axes.plot(iterations, [mean(c) for c in columns], style, marker='o', markersize=3, label=row.name)
        axes.fill_between(iterations, [min(c) for c in columns], [max(c) for c in columns],
                          color=line.get_color(), alpha=0.15)
    axes.set(title=title, xlabel='iteration', ylabel='target mIoU of the student (%)')
    axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper', fontsize=8)  # beside the curves, of which some go anywhere
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
