"""Files, folders and patterns as a list of images and videos."""

from pathlib import Path

import pytest

from mmseg_camix_tools.inference.inputs import InputsError, find_items


@pytest.fixture
def folder(tmp_path):
    for name in ('in/b.png', 'in/a.JPG', 'in/deep/er/c.v2.jpeg', 'in/deep/clip.MP4', 'in/notes.txt', 'in/.hidden.png',
                 'in/.git/d.png', 'in/out/a.png', 'odd/scan.xyz', 'other/b.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    return tmp_path


def found(folder, *inputs, out='elsewhere'):
    items = find_items([str(folder / one) for one in inputs], folder / out)
    return [(str(item.path.relative_to(folder)), str(item.name), item.is_video) for item in items]


def test_a_folder_is_searched_through_and_paths_are_kept(folder):
    assert found(folder, 'in') == [
        ('in/a.JPG', 'a', False), ('in/b.png', 'b', False), ('in/deep/clip.MP4', 'deep/clip', True),
        ('in/deep/er/c.v2.jpeg', 'deep/er/c.v2', False), ('in/out/a.png', 'out/a', False)]


def test_results_of_an_earlier_call_are_no_inputs(folder):
    assert [name for _, name, _ in found(folder, 'in', out='in/out')] == ['a', 'b', 'deep/clip', 'deep/er/c.v2']
    assert [name for _, name, _ in found(folder, 'in/**/*.png', out='in/out')] == ['b']
    assert [name for _, name, _ in found(folder, 'in/out/a.png', out='in/out')] == ['a'], 'but one that is named is'


def test_files_of_any_suffix_in_the_order_given(folder):
    assert found(folder, 'odd/scan.xyz', 'in/b.png', 'in/a.JPG') == [
        ('odd/scan.xyz', 'scan', False), ('in/b.png', 'b', False), ('in/a.JPG', 'a', False)]


def test_patterns(folder, monkeypatch):
    assert found(folder, 'in/*.*') == [('in/a.JPG', 'a', False), ('in/b.png', 'b', False)]
    assert [name for _, name, _ in found(folder, 'in/**/*.jp*g')] == ['deep/er/c.v2']
    assert [name for _, name, _ in found(folder, 'in/de?p/**')] == ['deep/clip', 'deep/er/c.v2']
    monkeypatch.chdir(folder)
    assert [item.name for item in find_items(['*/b.png'], Path('elsewhere'))] == [Path('in/b'), Path('other/b')]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    (tmp_path / 'a[1].png').write_bytes(b'')
    assert [item.name for item in find_items([str(tmp_path / 'a[1].png')], tmp_path / 'out')] == [Path('a[1]')]


@pytest.mark.parametrize(('inputs', 'out', 'match'), [
    (['nothing'], 'o', 'nothing: no such file or folder'),
    (['odd'], 'o', 'odd: no image or video there; known suffixes are .png, .jpg'),
    (['in/*.gif'], 'o', 'no image or video there'),
    (['in/out'], 'in', 'all of its images lie in --out'),
    (['in', 'other'], 'o', 'in/b.png and .*other/b.png would both be written as b; call once for each'),
])
def test_mistakes(folder, inputs, out, match):
    with pytest.raises(InputsError, match=match):
        found(folder, *inputs, out=out)


def test_twice_the_same_is_no_mistake(folder):
    assert len(found(folder, 'in/b.png', 'in/b.png')) == 2
