"""The matrix of versions: its table, its page."""

import json
import subprocess
from unittest.mock import Mock

import pytest

from benchmarks import matrix


def test_the_table_and_its_place_in_the_page(tmp_path, monkeypatch):
    versions = {'python': '3.12.1', 'torch': '2.4.1+cpu', 'numpy': '2.5.5', 'onedl-mmcv': '2.3.6',
                'onedl-mmengine': '0.10.12', 'mmsegmentation': '1.2.2'}
    results = dict(one=dict(versions=versions, passed=7, skipped=2, failed={}), two=dict(error='no such version'),
                   three=dict(versions=versions))  # without a report of the tests
    page = '<!-- begin versions -->\n<!-- end versions -->\n'
    for name, content in (('RESULTS', json.dumps(results)), ('PAGE', page)):
        monkeypatch.setattr(matrix, name, tmp_path / name)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr('sys.argv', ['matrix', '--only'])
    matrix.main()
    assert matrix.PAGE.read_text() == (
        '<!-- begin versions -->\n\n| Python | torch | numpy | mmseg | mmengine | mmcv | passed | skipped | failed |\n'
        '|---|---|---|---|---|---|---:|---:|---:|\n'
        '| 3.12.1 | 2.4.1 | 2.5.5 | mmsegmentation 1.2.2 | onedl-mmengine 0.10.12 | onedl-mmcv 2.3.6 | 7 | 2 | 0 |\n\n'
        '<!-- end versions -->\n')


def test_what_cannot_be_installed_is_recorded(monkeypatch):
    error = subprocess.CalledProcessError(1, 'uv', stderr='no version\nof torch')
    monkeypatch.setattr(matrix, 'call_uv', Mock(side_effect=error))
    assert matrix.try_out(matrix.COMBINATIONS[0]) == dict(error='no version of torch')


@pytest.mark.parametrize('path', matrix.SMOKE)
def test_the_tests_exist(path):
    assert (matrix.ROOT / path).is_file()


def test_the_page_shows_the_recorded_results():
    results = json.loads(matrix.RESULTS.read_text())
    assert sum('versions' in entry for entry in results.values()) >= 4
    assert matrix.table(results) in matrix.PAGE.read_text()
