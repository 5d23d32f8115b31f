"""Files, folders and patterns as a list of images and videos."""

from pathlib import Path

import pytest

from mmseg_camix_tools.inference.inputs import InputsError, find_items


@pytest.fixture
def folder(tmp_path):
    for name in ('in/b.png', 'in/a.JPG', 'in/deep/er/c.v2.jpeg', 'in/deep/clip.MP4', 'in/notes.txt', 'in/.hidden.png',
                 'in/.git/d.png', 'in/out/a.png', 'odd/scan.xyz', 'other/b.png', 'a[1].png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    return tmp_path


def items_of(folder, *inputs, out='elsewhere'):
    """(path, name) of each item; the name of a video ends in '.video'."""
    items = find_items([str(folder / given) for given in inputs], folder / out)
    return [(str(item.path.relative_to(folder)), f'{item.name}{".video" * item.is_video}') for item in items]


def test_paths_in_a_folder_are_kept_and_files_stay_in_the_order_given(folder):
    assert items_of(folder, 'in') == [
        ('in/a.JPG', 'a'), ('in/b.png', 'b'), ('in/deep/clip.MP4', 'deep/clip.video'),
        ('in/deep/er/c.v2.jpeg', 'deep/er/c.v2'), ('in/out/a.png', 'out/a')]
    assert items_of(folder, 'odd/scan.xyz', 'in/b.png', 'in/a.JPG') == [
        ('odd/scan.xyz', 'scan'), ('in/b.png', 'b'), ('in/a.JPG', 'a')]


@pytest.mark.parametrize(('given', 'out', 'names'), [
    # results of an earlier call are no inputs, unless they are named
    ('in', 'in/out', ['a', 'b', 'deep/clip.video', 'deep/er/c.v2']), ('in/**/*.png', 'in/out', ['b']),
    ('in/out/a.png', 'in/out', ['a']),
    # patterns, and a name that looks like one
    ('in/*.*', 'o', ['a', 'b']), ('in/**/*.jp*g', 'o', ['deep/er/c.v2']),
    ('in/de?p/**', 'o', ['deep/clip.video', 'deep/er/c.v2']), ('a[1].png', 'o', ['a[1]'])])
def test_names_of_results(folder, given, out, names):
    assert [name for _, name in items_of(folder, given, out=out)] == names


def test_linked_folders_are_searched_once(folder):
    (folder / 'linked').mkdir()
    (folder / 'linked/other').symlink_to(folder / 'other')
    (folder / 'linked/above').symlink_to(folder / 'linked')
    assert items_of(folder, 'linked') == [('linked/other/b.png', 'other/b')]


def test_relative_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [item.name for item in find_items(['*/b.png'], Path('elsewhere'))] == [Path('in/b'), Path('other/b')]


@pytest.mark.parametrize(('inputs', 'out', 'match'), [
    (['nothing'], 'o', 'nothing: no such file or folder'),
    (['odd'], 'o', 'odd: no image or video there; known suffixes are .png, .jpg'),
    (['in/*.gif'], 'o', 'no image or video there'),
    (['in/out'], 'in', 'all of its images lie in --out'),
    (['in', 'other'], 'o', 'in/b.png and .*other/b.png would both be written as b; call once for each'),
])
def test_mistakes(folder, inputs, out, match):
    with pytest.raises(InputsError, match=match):
        items_of(folder, *inputs, out=out)


def test_names_may_be_equal_where_nothing_is_written(folder):
    (folder / 'other/b.jpg').touch()
    assert [item.path.name for item in find_items([str(folder / 'other')])] == ['b.jpg', 'b.png']


def test_an_input_may_be_repeated(folder):
    assert len(items_of(folder, 'in/b.png', 'in/b.png')) == 2


def test_links_to_one_another_are_followed_once(tmp_path):
    """Each pair of links would double the number of folders, up to 40 deep."""
    for here, there in ('ab', 'ba'):
        (tmp_path / here).mkdir()
        (tmp_path / here / f'{here}.png').write_text('')
        for number in (1, 2):
            (tmp_path / here / f'link{number}').symlink_to(tmp_path / there)
    names = [str(item.name) for item in find_items([str(tmp_path)])]
    assert names == ['a/a', 'a/link1/b', 'a/link1/link1/a', 'b/b']
