"""Tables and plots of results made up here."""

from dataclasses import replace

import cv2
import pytest

from benchmarks.suites import Results, Row, Run
from benchmarks.tables import class_table, collect, missing_runs, plot_curves, replace_section, spread, summary_table


@pytest.fixture
def made_up(tmp_path):
    """Two rows with results (three seeds and one), one without."""
    rows = [Row('Source only', 'so.py', source_val=True), Row('DACS', 'dacs.py', options=dict(x=1)), Row('New', 'n.py')]
    runs = [Run(row, seed, 'p') for row in rows for seed in range(3)]
    results = Results(tmp_path / 'results.json')
    for run in runs:
        values = {'Source only': 20.0 + run.seed, 'DACS': 41.25}
        if run.row.name == 'New' or (run.row.name == 'DACS' and run.seed):
            continue
        value = values[run.row.name]
        metrics = {'mIoU': value, 'student/mIoU': value, 'student/IoU.road': 90.0 + run.seed, 'student/IoU.train': 0.5,
                   'teacher/IoU.train': 0.1}
        extra = dict(source_val=78.0) if run.row.source_val else {}
        if run.row.name == 'DACS':
            metrics['teacher/mIoU'] = value + 1
        curve = [[i, {'student/mIoU': value * i / 10}] for i in (5, 10)]
        results.add(run, dict(metrics=metrics, seconds=90, threads=2, curve=curve, **extra))
    return rows, runs, results


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_spread():
    assert spread([]) == '-'
    assert spread([41.25]) == '41.2'
    assert spread([20.0, 21.0, 22.0]) == '21.0 ± 1.0'


def test_table(made_up):
    lines = summary_table(collect(*made_up)).splitlines()
    assert cells(lines[0]) == ['method', 'student mIoU', 'teacher mIoU', 'source val mIoU', 'classes below 1 %',
                               'seeds', 'config']
    assert len(lines) == 4  # the row without results is left out
    assert cells(lines[2]) == ['Source only', '21.0 ± 1.0', '-', '78.0 ± 0.0', '1.0', '3', '`so.py`']
    assert cells(lines[3]) == ['DACS', '41.2', '42.2', '-', '1.0', '1', '`dacs.py` with `x=1`']
    assert len({line.count('|') for line in lines}) == 1


def test_missing_runs_are_named(made_up):
    _, runs, results = made_up
    assert missing_runs(runs, results) == 'Not run yet: "DACS" (seed 1, seed 2); "New".'
    assert missing_runs(runs[:3], results) == ''


def test_table_without_source_val(made_up):
    rows, runs, results = made_up
    lines = summary_table(collect(rows[1:], runs, results)).splitlines()
    assert 'source val mIoU' not in lines[0]
    assert len({line.count('|') for line in lines}) == 1


def test_class_table(made_up):
    lines = class_table(collect(*made_up)).splitlines()
    assert cells(lines[0]) == ['student IoU', 'road', 'train']
    assert cells(lines[2]) == ['Source only', '91', '0']
    assert cells(lines[3]) == ['DACS', '90', '0']
    assert len(lines) == 4


def test_entries_follow_the_protocol(made_up):
    rows, _, results = made_up
    assert [len(seeds) for _, seeds in collect(rows, [Run(rows[0], seed, 'p') for seed in range(3)], results)] == [3]
    assert collect(rows, [Run(rows[0], 0, 'changed')], results) == []


def test_sections(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('# A\n<!-- begin one -->\nold\n<!-- end one -->\nbetween\n<!-- begin two -->\n<!-- end two -->\n')
    replace_section(path, 'one', r'new \1 $content')  # not a pattern
    replace_section(path, 'two', '| table |')
    text = path.read_text()
    assert 'old' not in text
    assert '<!-- begin one -->\n\nnew \\1 $content\n\n<!-- end one -->\nbetween\n' in text
    assert '<!-- begin two -->\n\n| table |\n\n<!-- end two -->\n' in text
    replace_section(path, 'one', r'new \1 $content')
    assert path.read_text() == text  # writing again changes nothing


def test_a_missing_section_is_an_error(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('<!-- begin one -->\n')
    for name in ('one', 'two'):
        with pytest.raises(ValueError, match=f'has no section "<!-- begin {name} -->'):
            replace_section(path, name, 'x')
    assert path.read_text() == '<!-- begin one -->\n'
    with pytest.raises(FileNotFoundError):
        replace_section(tmp_path / 'nowhere.md', 'one', 'x')


def test_plot(made_up, tmp_path):
    path = tmp_path / 'new' / 'plot.png'
    entries = collect(*made_up)
    plot_curves(entries, path, 'Title')
    picture = cv2.imread(str(path))
    assert min(picture.shape[:2]) > 300
    assert len({tuple(colour) for colour in picture[::7, ::7].reshape(-1, 3).tolist()}) > 3
    without = tmp_path / 'without.png'
    plot_curves([(replace(row, curve=row.name != 'DACS'), seeds) for row, seeds in entries], without, 'Title')
    assert (cv2.imread(str(without)) != picture).any()
