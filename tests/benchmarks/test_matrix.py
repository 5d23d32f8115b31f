"""The matrix of versions: its reports, its table, its page."""

import json
import subprocess

import pytest

from benchmarks import matrix

REPORT = '''<testsuites><testsuite errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.a" name="good"/><testcase classname="tests.a" name="bad"><failure>x</failure></testcase>
<testcase classname="tests.b" name="worse"><error>x</error></testcase>
<testcase classname="tests.b" name="left_out"><skipped/></testcase></testsuite></testsuites>'''


def test_counts_and_names_of_a_report(tmp_path):
    (tmp_path / 'report.xml').write_text(REPORT)
    assert matrix.read_report(tmp_path / 'report.xml') == dict(
        passed=1, skipped=1, failed=['tests.a.bad', 'tests.b.worse'])


def test_the_table_and_its_place_in_the_page(tmp_path, monkeypatch):
    versions = {'python': '3.12.1', 'torch': '2.4.1+cpu', 'numpy': '2.5.5', 'onedl-mmcv': '2.3.6',
                'onedl-mmengine': '0.10.12', 'mmsegmentation': '1.2.2'}
    results = dict(one=dict(versions=versions, passed=7, skipped=2, failed=[]), two=dict(error='no such version'))
    monkeypatch.setattr(matrix, 'PAGE', tmp_path / 'page.md')
    matrix.PAGE.write_text(f'before\n{matrix.BEGIN}old\n{matrix.END}after\n')
    matrix.write_page(results)
    assert matrix.PAGE.read_text() == (
        f'before\n{matrix.BEGIN}\n| Python | torch | numpy | mmseg | mmengine | mmcv | passed | skipped | failed |\n'
        '|---|---|---|---|---|---|---:|---:|---:|\n'
        '| 3.12.1 | 2.4.1 | 2.5.5 | mmsegmentation 1.2.2 | onedl-mmengine 0.10.12 | onedl-mmcv 2.3.6 | 7 | 2 | 0 |\n\n'
        f'{matrix.END}after\n')


def test_what_cannot_be_installed_is_recorded(monkeypatch):
    def fail(*arguments):
        raise subprocess.CalledProcessError(1, arguments, stderr='no version\nof torch')
    monkeypatch.setattr(matrix, 'call_uv', fail)
    assert matrix.try_out(matrix.COMBINATIONS[0]) == dict(error='no version of torch')


@pytest.mark.parametrize('path', matrix.SMOKE)
def test_the_tests_exist(path):
    assert (matrix.ROOT / path).is_file()


def test_the_page_shows_the_recorded_results():
    results = json.loads(matrix.RESULTS.read_text())
    assert sum('versions' in entry for entry in results.values()) >= 4
    assert matrix.table(results) in matrix.PAGE.read_text()
