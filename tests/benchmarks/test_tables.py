"""Tables and plots of made-up results."""

from dataclasses import replace

import cv2
import pytest

from benchmarks.suites import Results, Row, Run
from benchmarks.tables import (
    class_table,
    collect,
    missing_runs,
    plot_classes,
    plot_curves,
    replace_section,
    spread,
    summary_table,
)


@pytest.fixture
def made_up(tmp_path):
    """Two rows with results (three seeds and one), one without."""
    rows = [Row('Source only', 'so.py', source_val=True), Row('DACS', 'dacs.py', options=dict(x=1)), Row('New', 'n.py')]
    runs = [Run(row, seed, 'p') for row in rows for seed in range(3)]
    results = Results(tmp_path / 'results.json')
    for run in runs[:4]:
        value = 20.0 + run.seed if run.row is rows[0] else 41.25
        metrics = {'mIoU': value, 'student/mIoU': value, 'student/IoU.road': 90.0 + run.seed, 'student/IoU.train': 0.5,
                   'teacher/IoU.train': 0.1, **({} if run.row is rows[0] else {'teacher/mIoU': value + 1})}
        curve = [[i, {'student/mIoU': value * i / 10}] for i in (5, 10)]
        results.add(run, dict(metrics=metrics, seconds=90, threads=2, curve=curve,
                              **(dict(source_val=78.0) if run.row.source_val else {})))
    return rows, runs, results


def cells(table):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]


def test_tables(made_up):
    rows, runs, results = made_up
    assert spread([]) == '-'
    head, _, *lines = cells(summary_table(collect(*made_up)))
    assert head == ['method', 'student mIoU', 'teacher mIoU', 'source val mIoU', 'classes below 1 %', 'seeds', 'config']
    assert lines == [['Source only', '21.0 ± 1.0', '-', '78.0 ± 0.0', '1.0', '3', '`so.py`'],
                     ['DACS', '41.2', '42.2', '-', '1.0', '1', '`dacs.py` with `x=1`']]
    assert 'source val mIoU' not in cells(summary_table(collect(rows[1:], runs, results)))[0]
    head, _, *lines = cells(class_table(collect(*made_up)))
    assert [head, *lines] == [['student IoU', 'road', 'train'], ['Source only', '91', '0'], ['DACS', '90', '0']]


def test_share_of_the_gap_that_is_closed(made_up):
    rows, runs, results = made_up
    rows[2] = Row('Oracle', 'o.py')
    results.add(Run(rows[2], 0, 'p'), dict(metrics={'student/mIoU': 61.0, 'student/IoU.road': 1.0}, curve=[]))
    head, _, *lines = cells(summary_table(collect(rows, [*runs, Run(rows[2], 0, 'p')], results)))
    assert [line[head.index('gap closed, %')] for line in lines] == ['', '51 / 53', '']  # of the gap from 21 to 61
    assert 'gap closed, %' not in summary_table(collect(*made_up)[1:])


def test_missing_runs_are_named_and_other_protocols_do_not_count(made_up):
    rows, runs, results = made_up
    assert missing_runs(runs, results) == 'Not run yet: "DACS" (seed 1, seed 2); "New".'
    assert missing_runs(runs[:3], results) == ''
    assert [len(seeds) for _, seeds in collect(rows, runs[:3], results)] == [3]
    assert collect(rows, [Run(rows[0], 0, 'changed')], results) == []


def test_sections_are_replaced(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('# A\n<!-- begin one -->\nold\n<!-- end one -->\nbetween\n<!-- begin two -->\n<!-- end two -->\n')
    for _ in range(2):  # writing again changes nothing
        replace_section(path, 'one', r'new \1 $content')  # not a pattern
        replace_section(path, 'two', '| table |')
        assert path.read_text() == ('# A\n<!-- begin one -->\n\nnew \\1 $content\n\n<!-- end one -->\nbetween\n'
                                    '<!-- begin two -->\n\n| table |\n\n<!-- end two -->\n')
    with pytest.raises(ValueError, match='has no section "<!-- begin three -->'):
        replace_section(path, 'three', 'x')


@pytest.mark.parametrize('plot', [plot_curves, plot_classes])
def test_plot(made_up, tmp_path, plot):
    entries = collect(*made_up)
    plot(entries, tmp_path / 'new/plot.png', 'Title')
    without = [(replace(row, curve=row.name != 'DACS'), seeds) for row, seeds in entries]
    plot(without, tmp_path / 'p.png', 'Title')
    full, reduced = (cv2.imread(str(tmp_path / name)) for name in ('new/plot.png', 'p.png'))
    assert min(full.shape[:2]) > 300
    assert full.std() > 1
    assert (full != reduced).any()
