"""prepare.py on the layouts of CamVid."""

import json

import pytest

from mmseg_camix.datasets import CamVidDataset
from mmseg_camix.datasets.encodings import CAMVID_CLASSES
from mmseg_camix_tools.preparation.layouts import CAMVID
from tests.datasets.camvid_tiny import LAYOUTS, indices, make_camvid, places, write_colours
from tests.datasets.tiny import write_grey_label

from .preparing import main


@pytest.mark.parametrize('layout', LAYOUTS)
def test_classes_are_counted_and_defects_skipped(layout, tmp_path, capsys):
    """A label of the other encoding and a truncated image are defects."""
    root = make_camvid(tmp_path / 'camvid', layout)
    (_, label), (image, _) = (places(layout, frame) for frame in ('0016E5_00390', '0006R0_f01260'))
    assert main('camvid', root) == 0
    stats, pixels = json.loads((root / 'sample_class_stats.json').read_text()), indices('0016E5_00390', (16, 24))
    assert stats['classes'] == list(CAMVID_CLASSES)
    assert stats['files'][label]['pixels'] == [int((pixels == c).sum()) for c in range(11)]
    (write_grey_label if layout == 'cambridge' else write_colours)(root / label, pixels)
    (root / image).write_bytes((root / image).read_bytes()[:-20])
    capsys.readouterr()
    assert main('camvid', root) == 0
    assert '2 (1 x the image cannot be read; 1 x the label cannot be read)' in capsys.readouterr().out
    kept = CamVidDataset(str(root), conditions='day', skip='defects.json')
    assert [kept.get_data_info(i)['img_path'] for i in range(len(kept))] == [
        str(root / places(layout, '0006R0_f00930')[0])]


def test_other_folders_and_options_are_refused(tmp_path):
    error = "images: no file ends in '.jpg'. ROOT is the folder of CamVid: the SegNet tutorial's"
    assert error in main('camvid', tmp_path)
    assert 'camvid has no files of train ids' in main('camvid', make_camvid(tmp_path), '--train-ids')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_further_folder_level_is_named(layout, tmp_path):
    root = make_camvid(tmp_path / 'CamVid', layout)
    (tmp_path / 'another').mkdir()
    assert f'{root} is such a folder' in main('camvid', tmp_path)
    with pytest.raises(FileNotFoundError, match=f'images: no such folder.* {root} is such a folder'):
        CamVidDataset(str(tmp_path))


def test_all_photographs_are_expected():
    assert [sum(part.count for part in layout.parts) for layout in CAMVID.values()] == [701] * 3
