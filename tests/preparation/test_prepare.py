"""prepare.py: results are those of the single tools, a second run does nothing, defects are listed and skipped."""

import ast
import json
import os
import sys
import time

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_camix.datasets import GTADataset
from mmseg_camix.datasets.defects import read_defects
from mmseg_camix.spatial_prior import load_spatial_prior
from mmseg_camix_tools.preparation import LAYOUTS
from mmseg_camix_tools.preparation.class_stats import STATS_FILE, collect
from tests.datasets.tiny import (
    LABELLED,
    make_acdc,
    make_dark_zurich,
    random_ids,
    write_grey_label,
    write_image,
    write_palette_label,
)
from tests.tools_runner import ROOT, call

from .preparing import TOOL, digests, main, results, write_config


def test_everything_of_a_source_is_what_the_single_tools_make(gta, tmp_path, capsys):
    config = write_config(tmp_path)
    assert main('gta', gta, '--config', config, '--cache') == 0
    printed = capsys.readouterr().out
    for line in ('all         7 images, 7 labels', 'defects     none', 'counted in 7 labels', '7 labels at 34x18',
                 '7 images, 0.00 GB, of LoadImage() -> LoadIdLabels()'):
        assert line in printed
    stats, failures = collect('gta', gta, tmp_path / 'stats')
    assert not failures
    assert json.loads((gta / STATS_FILE).read_text()) == stats
    for file in (STATS_FILE, 'samples_with_class.json'):
        assert (gta / file).read_bytes() == (tmp_path / 'stats' / file).read_bytes()
    plain = write_config(tmp_path)
    plain.write_text(plain.read_text().replace("'data/gta'", repr(str(gta))))
    assert call('dataset/build_spatial_prior.py', plain, '--out', tmp_path / 'other.npz', '--workers', 0) == 0
    ours, other = (load_spatial_prior(str(path)) for path in (tmp_path / 'priors/gta.npz', tmp_path / 'other.npz'))
    assert ours.digest == other.digest
    np.testing.assert_array_equal(ours.counts, other.counts)


def test_the_cache_is_used_by_one_option(gta, tmp_path):
    config = write_config(tmp_path)
    assert main('gta', gta, '--config', config, '--cache') == 0
    pipeline = [*LABELLED[:2], dict(type='Resize', scale=(34, 18)),
                dict(type='RecordedRandomCrop', crop_size=(9, 11)), LABELLED[2]]
    plain, cached = (GTADataset(str(gta), pipeline=pipeline, cache=cache) for cache in ('', 'cache'))
    for index in range(7):
        items = []
        for dataset in (plain, cached):
            np.random.seed(index)  # noqa: NPY002
            items.append(dataset[index])
        assert (items[0]['inputs'] == items[1]['inputs']).all()
        assert items[0]['data_samples'].crop_box == items[1]['data_samples'].crop_box


@pytest.mark.parametrize('family', ['synthia', 'cityscapes', 'acdc', 'dark_zurich'])
def test_other_families(request, family, tmp_path, capsys):
    make = dict(acdc=make_acdc, dark_zurich=make_dark_zurich).get(family)
    root = make(tmp_path / family) if make else request.getfixturevalue(family)
    assert main(family, root) == 0
    printed = capsys.readouterr().out
    assert 'defects     none' in printed
    expected = dict(synthia=3, cityscapes=0, acdc=8, dark_zurich=0)[family]  # the labels on which one trains
    assert (root / STATS_FILE).is_file() == (expected > 0)
    if expected:
        stats = json.loads((root / STATS_FILE).read_text())
        assert (len(stats['files']), stats['complete']) == (expected, True)
    assert (tmp_path / f'priors/{family}.npz').is_file() == (family == 'synthia')
    lines = dict(synthia='all         3 images, 3 labels', cityscapes='train       5 images, no labels',
                 acdc='night/val   1 images, 1 labels', dark_zurich='train/night 3 images, no labels')
    assert lines[family] in printed


def test_the_counts_of_the_downloads():
    """As published: ACDC has 4006 images, half of them with public labels; Dark Zurich 8779 with its references."""
    counts = {family: {part.name: part.count for part in layout.parts} for family, layout in LAYOUTS.items()}
    assert (counts['gta'], counts['synthia']) == (dict(all=24966), dict(all=9400))
    assert counts['cityscapes'] == dict(train=2975, val=500)
    assert sum(counts['acdc'].values()) + 4 * 500 == 4006
    assert counts['dark_zurich'].pop('val/night') == 50
    assert sum(counts['dark_zurich'].values()) + 2 * (50 + 151) == 8779


def test_wrong_folders_and_options_are_refused(gta, tmp_path, capsys):
    (gta / 'labels/00004.png').unlink()
    error = call(TOOL, 'gta', gta)
    assert 'images holds 7 of 24966 images; labels holds 6 of 24966 labels (none for images/00004.png)' in error
    assert '--any-count' in error
    config = write_config(tmp_path)
    for arguments, message in (
            (('synthia', gta), "RGB: no file ends in '.png'. ROOT is the folder of SYNTHIA"),
            (('gta', gta / 'nowhere'), 'nowhere: no such folder; ROOT is the folder of GTA'),
            (('gta', gta, '--out', gta / 'images/00001.png/out'), 'no folder can be made here; choose a folder'),
            (('synthia', gta, '--config', config, '--cache'),
             'no dataset of its training is a SYNTHIADataset (there are: GTADataset'),
            (('gta', gta, '--config', tmp_path / 'none.py', '--cache'), 'no config at')):
        assert message in main(*arguments)
    assert main('gta', gta, '--cache') == 2
    assert '--cache needs --config' in capsys.readouterr().err
    assert not (gta / 'defects.json').exists()


def test_a_second_run_does_nothing_and_says_so(gta, tmp_path, capsys):
    arguments = ['gta', gta, '--config', write_config(tmp_path), '--cache', '--train-ids']
    assert main(*arguments) == 0
    before = results(gta)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
    first = capsys.readouterr().out
    start = time.process_time()
    assert main(*arguments) == 0
    assert time.process_time() - start < 1
    printed = capsys.readouterr().out
    assert printed.startswith(first.rsplit('\n', 2)[0])  # the same summary
    assert 'nothing to do: all is as the last run left it' in printed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()} == times
    assert digests('gta', gta, tmp_path / 'config.py') == digests('gta', gta, tmp_path / 'config.py')
    assert results(gta) == before


@pytest.mark.parametrize('file', [
    'mmseg_camix_tools/commands/__init__.py', 'mmseg_camix_tools/commands/prepare.py',
    'mmseg_camix_tools/preparation/state.py'])
def test_the_quick_answer_imports_only_the_standard_library(file):
    for node in ast.parse((ROOT / file).read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
            [node.module] if isinstance(node, ast.ImportFrom) else [])
        assert all(name.split('.')[0] in sys.stdlib_module_names for name in names)


CHANGES = {
    'another image': lambda gta, tmp_path: write_image(gta / 'images/00003.png', 55),
    'a new pair': lambda gta, tmp_path: (write_image(gta / 'images/00099.png', 9),
                                         write_palette_label(gta / 'labels/00099.png', random_ids(9, 35))),
    'a pair that is gone': lambda gta, tmp_path: [path.unlink() for path in gta.rglob('00002.png')],
    'a result that is gone': lambda gta, tmp_path: (gta / STATS_FILE).unlink(),
    'a prior that is gone': lambda gta, tmp_path: (tmp_path / 'priors/gta.npz').unlink(),
    'an entry that is gone': lambda gta, tmp_path: next((gta / 'cache').rglob('*.cache')).unlink(),
    'a damaged list': lambda gta, tmp_path: (gta / 'defects.json').write_text('{'),
    'another pipeline': lambda gta, tmp_path: (tmp_path / 'config.py').write_text(
        (tmp_path / 'config.py').read_text().replace('(34, 18)', '(30, 18)')),
    'no ledger': lambda gta, tmp_path: (gta / '.prepared/scan.json').write_text('?'),
}


@pytest.mark.parametrize('name', CHANGES)
def test_what_has_changed_is_done_again(gta, tmp_path, name, capsys):
    config = write_config(tmp_path)
    arguments = ['gta', gta, '--config', config, '--cache']
    assert main(*arguments) == 0
    CHANGES[name](gta, tmp_path)
    capsys.readouterr()
    assert main(*arguments) == 0
    printed = capsys.readouterr().out
    assert ('ready' in printed) == (name != 'no ledger')  # which would only save time
    content = digests('gta', gta, config)
    for leftover in ('.prepared', 'cache'):  # the same as from the beginning
        (gta / leftover).rename(tmp_path / f'old {leftover}')
    (tmp_path / 'priors/gta.npz').unlink()
    assert digests('gta', gta, config) == content


def test_a_prior_that_somebody_else_made_is_kept(gta, tmp_path, capsys):
    assert main('gta', gta, '--prior-out', tmp_path / 'mine.npz') == 0
    other = tmp_path / 'priors/gta.npz'
    other.parent.mkdir()
    os.link(tmp_path / 'mine.npz', other)
    content = other.read_bytes()
    write_image(gta / 'images/00099.png', 9)
    write_palette_label(gta / 'labels/00099.png', random_ids(9, 35))
    assert main('gta', gta) == 0
    assert 'kept, because it was not made here: delete it, or choose --prior-out' in capsys.readouterr().out
    assert other.read_bytes() == content
    assert main('gta', gta, '--prior-out', tmp_path / 'new.npz') == 0
    assert load_spatial_prior(str(tmp_path / 'new.npz')).num_images == 8


def test_defects_are_listed_and_skipped_only_on_request(gta, capsys):
    write_image(gta / 'images/00002.png', 2, (12, 18))  # its label has (12, 20)
    (gta / 'labels/00003.png').unlink()
    (gta / 'images/00005.png').unlink()
    assert main('gta', gta) == 0  # they are the download's, not the machine's
    text = capsys.readouterr().out
    assert '3 (1 x image and label differ in size; 1 x an image without a label; 1 x a label without an image)' in text
    assert "training stops at them unless the dataset has skip='defects.json'" in text
    defects = {defect.kind: defect for defect in read_defects(gta / 'defects.json').items}
    assert set(defects) == {'size', 'no_label', 'no_image'}
    assert (defects['size'].image, defects['size'].label) == ('images/00002.png', 'labels/00002.png')
    assert defects['size'].detail == '18x12 pixels, but its label has 20x12'
    assert (defects['no_label'].image, defects['no_image'].label) == ('images/00003.png', 'labels/00005.png')
    assert set(json.loads((gta / STATS_FILE).read_text())['files']) == {f'labels/{i:05}.png' for i in (1, 4, 6, 7)}

    with pytest.raises(FileNotFoundError, match=r"00003.png: no label for this image.*set skip='defects.json'"):
        GTADataset(str(gta), pipeline=LABELLED)
    dataset = GTADataset(str(gta), pipeline=LABELLED, skip='defects.json')
    assert [dataset[i]['data_samples'].img_path[-9:] for i in range(len(dataset))] == [
        f'{i:05}.png' for i in (1, 4, 6, 7)]
    unlabelled = GTADataset(str(gta), data_prefix=dict(img_path='images'), skip='defects.json')
    assert len(unlabelled) == 6  # what is wrong is the labels
    (gta / 'images/00003.png').unlink()
    with pytest.raises(ValueError, match=r'00002.png: the label is 20x12 but its image .* is 18x12.*skip='):
        GTADataset(str(gta), pipeline=LABELLED)[1]


def test_a_missing_or_wrong_list_of_defects(gta, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'defects.json: no such list of defects; `mmseg-camix prepare'):
        GTADataset(str(gta), skip='defects.json')
    (tmp_path / 'list.json').write_text('[1, 2]')
    with pytest.raises(ValueError, match='not a list of defects'):
        GTADataset(str(gta), skip=str(tmp_path / 'list.json'))


def test_defects_of_cityscapes_lie_in_folders(cityscapes):
    (cityscapes / 'gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png').unlink()
    write_grey_label(cityscapes / 'gtFine/train/x/x_000000_000019_gtFine_labelIds.png', random_ids(0, 34))
    assert main('cityscapes', cityscapes) == 0
    kinds = [defect.kind for defect in read_defects(cityscapes / 'defects.json').items]
    assert sorted(kinds) == ['no_image', *['no_label'] * 6]  # some training images have labels, so all should
    val = DATASETS.build(dict(type='RawCityscapesDataset', data_root=str(cityscapes), skip='defects.json',
                              data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
    assert [val.get_data_info(i)['img_path'].split('/')[-2] for i in range(len(val))] == ['lindau']
    target = DATASETS.build(dict(type='RawCityscapesDataset', data_root=str(cityscapes), skip='defects.json',
                                 data_prefix=dict(img_path='leftImg8bit/train')))
    assert len(target) == 5


def test_results_may_go_elsewhere(gta, tmp_path):
    out, before = tmp_path / 'out', sorted(gta.rglob('*'))
    assert main('gta', gta, '--out', out, '--prior-out', out / 'prior.npz') == 0
    assert sorted(gta.rglob('*')) == before
    assert {path.name for path in out.iterdir()} == {'.prepared', 'defects.json', STATS_FILE, 'samples_with_class.json',
                                                     'prior.npz'}
    assert len(GTADataset(str(gta), skip=str(out / 'defects.json'))) == 7


def test_damage_to_the_cache_is_found_and_mended(gta, tmp_path, capsys):
    arguments = ['gta', gta, '--config', write_config(tmp_path), '--cache']
    assert main(*arguments) == 0
    before = results(gta)
    path = next((gta / 'cache').rglob('*.cache'))
    data, times = bytearray(path.read_bytes()), path.stat()
    data[-9] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk does it
    assert main(*arguments) == 0
    assert 'nothing to do' in capsys.readouterr().out
    assert main(*arguments, '--verify') == 0
    assert '1 damaged files of the cache are rebuilt' in capsys.readouterr().out
    assert results(gta) == before
