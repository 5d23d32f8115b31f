"""Class statistics against counting pixel by pixel."""

import json
import os
from collections import Counter

import pytest

from mmseg_camix.datasets.encodings import CLASSES, get_encoding
from mmseg_camix_tools.preparation import class_stats
from mmseg_camix_tools.preparation.class_stats import INDEX_FILE, STATS_FILE, collect
from tests.datasets.tiny import random_ids, write_palette_label
from tests.tools_runner import call


def slowly(seed):
    return Counter(int(get_encoding('cityscapes').table[value]) for row in random_ids(seed, 35) for value in row)


@pytest.mark.parametrize('jobs', [1, 2])
def test_counts(gta, jobs):
    stats, failures = collect('gta', gta, jobs=jobs)
    assert failures == []
    assert stats == json.loads((gta / STATS_FILE).read_text())
    assert stats['complete']
    assert stats['classes'] == list(CLASSES)
    expected = {f'labels/{i:05}.png': slowly(i) for i in range(1, 8)}
    assert list(stats['files']) == sorted(expected)
    for file, counts in expected.items():
        assert stats['files'][file]['pixels'] == [counts[i] for i in range(19)]
        assert stats['files'][file]['ignored'] == counts[255]
    for i in range(19):
        assert stats['total_pixels'][i] == sum(c[i] for c in expected.values())
        assert stats['total_files'][i] == sum(c[i] > 0 for c in expected.values())


def test_index_of_files_by_class(synthia):
    stats, _ = collect('synthia', synthia)
    index = json.loads((synthia / INDEX_FILE).read_text())
    assert list(index) == list(CLASSES)
    assert index['train'] == []  # SYNTHIA has none
    for i, name in enumerate(CLASSES):
        files = {file: entry['pixels'][i] for file, entry in stats['files'].items() if entry['pixels'][i]}
        assert dict(index[name]) == files
        assert [count for _, count in index[name]] == sorted(files.values(), reverse=True)


def test_only_new_and_changed_files_are_counted_again(gta, monkeypatch):
    collect('gta', gta)
    counted, original, first = [], class_stats.count_file, (gta / STATS_FILE).read_bytes()
    monkeypatch.setattr(class_stats, 'count_file', lambda path, ids: counted.append(path.name) or original(path, ids))
    collect('gta', gta)
    assert counted == []
    assert (gta / STATS_FILE).read_bytes() == first

    write_palette_label(gta / 'labels/00003.png', random_ids(99, 35))
    os.utime(gta / 'labels/00003.png', (1e9, 1e9))
    (gta / 'labels/00007.png').unlink()
    stats, _ = collect('gta', gta)
    assert counted == ['00003.png']
    assert len(stats['files']) == 6
    assert stats['files']['labels/00003.png']['pixels'] == [slowly(99)[i] for i in range(19)]

    collect('gta', gta, force=True)
    assert len(counted) == 1 + 6


def test_an_interrupted_run_keeps_what_it_counted(gta, monkeypatch):
    original = class_stats.count_file

    def interrupted(path, ids):
        if path.name == '00004.png':
            raise KeyboardInterrupt
        return original(path, ids)

    with monkeypatch.context() as patch:
        patch.setattr('mmseg_camix.datasets.scanning.SAVE_SECONDS', 0.0)
        patch.setattr(class_stats, 'count_file', interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect('gta', gta)
    partial = json.loads((gta / STATS_FILE).read_text())
    assert (len(partial['files']), partial['complete']) == (3, False)
    stats, _ = collect('gta', gta)
    assert (len(stats['files']), stats['complete']) == (7, True)


@pytest.mark.parametrize('content', ['{', '[]', '{"classes": ["road"], "files": {}}'])
def test_a_foreign_file_is_not_trusted(gta, content):
    (gta / STATS_FILE).write_text(content)
    assert len(collect('gta', gta)[0]['files']) == 7


def test_tool_reports_bad_files_and_counts_the_others(gta, tmp_path, capsys):
    label = gta / 'labels/00002.png'
    label.write_bytes(label.read_bytes()[:50])
    assert call('dataset/class_stats.py', 'gta', gta, '--jobs', 1, '--out', tmp_path / 'out') == 1
    printed = capsys.readouterr()
    assert '00002.png: the PNG is truncated' in printed.err
    assert 'motorcycle' in printed.out and '%' in printed.out
    stats = json.loads((tmp_path / 'out' / STATS_FILE).read_text())
    assert (len(stats['files']), stats['complete']) == (6, False)


def test_split_and_list_of_names(gta, cityscapes):
    stats, _ = collect('cityscapes', cityscapes, split='val/ulm')
    assert list(stats['files']) == ['gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png']
    (cityscapes / 'few.txt').write_text('val/ulm/ulm_000000_000019\n')
    assert len(collect('cityscapes', cityscapes, ann_file='few.txt')[0]['files']) == 1
    (gta / 'train.txt').write_text('00006\n00002\n')
    stats, _ = collect('gta', gta, ann_file='train.txt')
    assert list(stats['files']) == ['labels/00002.png', 'labels/00006.png']
    (gta / 'train.txt').write_text('00006\n00099\n')
    for family, options, message in (
            ('cityscapes', dict(split='trian'), 'gtFine/trian: no label file; check the split'),
            ('gta', dict(ann_file='train.txt'), 'labels/00099.png: no label for this line'),
            ('gta', dict(ann_file='gone.txt'), 'gone.txt: no such list')):
        with pytest.raises(FileNotFoundError, match=message):
            collect(family, dict(gta=gta, cityscapes=cityscapes)[family], **options)
