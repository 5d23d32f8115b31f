"""CamVid: the right frames with the right labels in every layout, and errors that name the remedy."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_camix.datasets import CamVidDataset
from mmseg_camix.datasets.encodings import CAMVID_COLOURS
from mmseg_camix.datasets.image_files import UnknownIdsError, read_train_ids

from .camvid_tiny import COLOURS, FRAMES, LAYOUTS, indices, make_camvid, write_colours
from .tiny import LABELLED, write_grey_label, write_image

SIZE = (16, 24)


def frames(dataset):
    return [dataset.get_data_info(i)['img_path'].rsplit('/')[-1].split('.')[0] for i in range(len(dataset))]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_has_the_same_frames_and_labels(layout, tmp_path):
    root = make_camvid(tmp_path, layout)
    for (condition, split), expected in FRAMES.items():
        dataset = DATASETS.build(dict(type='CamVidDataset', data_root=str(root), conditions=condition, split=split,
                                      pipeline=LABELLED))
        assert sorted(frames(dataset)) == expected
        for index, frame in enumerate(frames(dataset)):
            label = dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()
            np.testing.assert_array_equal(label, np.where(indices(frame, SIZE) == 11, 255, indices(frame, SIZE)))
    assert sorted(frames(CamVidDataset(str(root)))) == sorted(FRAMES['day', 'train'] + FRAMES['dusk', 'train'])
    target = CamVidDataset(str(root), conditions='dusk', labels=False)
    assert 'seg_map_path' not in target.get_data_info(0)
    assert target.metainfo['classes'][:3] == ('sky', 'building', 'pole')
    assert target.metainfo['palette'][8] == [64, 0, 128]


def test_evenly_spread_samples(tmp_path):
    root = str(make_camvid(tmp_path))
    every = frames(CamVidDataset(root))
    for count, places in ((1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (4, [0, 1, 2, 4]), (5, range(5))):
        assert frames(CamVidDataset(root, spread=count)) == [every[place] for place in places]
    assert frames(CamVidDataset(root, spread=3, indices=[1])) == every[2:3]
    with pytest.raises(ValueError, match='spread=6: .* has only 5 samples'):
        CamVidDataset(root, spread=6)
    with pytest.raises(ValueError, match='spread=0 must be at least 1'):
        CamVidDataset(root, spread=0)


def test_the_32_colours():
    names = list(CAMVID_COLOURS)
    table = {rgb: names.index(name) for name, colours in CAMVID_COLOURS.items() for rgb in colours.values()}
    assert table == {tuple(row[:3]): row[3] for row in COLOURS.tolist() if row[3] < 11}
    assert len(table) == 31


def test_other_folders(tmp_path):
    root = make_camvid(tmp_path, 'cambridge')
    (root / '701_StillsRaw_full').rename(root / 'stills')
    with pytest.raises(FileNotFoundError, match='images: no such folder.*data_root.*LabeledApproved_full'):
        CamVidDataset(str(root))
    dataset = CamVidDataset(str(root), dict(img_path='stills', seg_map_path='LabeledApproved_full'),
                            ids='camvid-colours', seg_map_suffix='_L.png', pipeline=LABELLED)
    assert len(dataset) == 5
    assert int(dataset[0]['data_samples'].gt_sem_seg.data.max()) in (*range(11), 255)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(split='test'), "split='test' is not one of train, val"),
    (dict(conditions='night'), "conditions='night' must be some of day, dusk"),
    (dict(conditions=()), 'must be some of day, dusk')])
def test_bad_options(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        CamVidDataset(str(make_camvid(tmp_path)), **options)


def test_images_of_other_sets_and_missing_parts(tmp_path):
    root = make_camvid(tmp_path)
    for path in root.rglob('Seq05VD*'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no image of day in the split 'val'"):
        CamVidDataset(str(root), split='val', conditions='day')
    write_image(root / 'images/aachen_000000.jpg', 0, SIZE)
    with pytest.raises(ValueError, match='aachen_000000 is no frame of CamVid.*FolderDataset'):
        CamVidDataset(str(root))


def test_a_target_without_labels(tmp_path):
    """The remedy that the error names keeps the layout."""
    root = make_camvid(tmp_path, 'cambridge')
    (root / 'LabeledApproved_full').rename(root / 'elsewhere')
    with pytest.raises(FileNotFoundError, match='no such folder.* For an unlabelled target set, give labels=False$'):
        CamVidDataset(str(root))
    assert len(CamVidDataset(str(root), labels=False)) == 5


def test_colours_mixed_with_indices(tmp_path):
    """Each kind of file, read as the other, names the other's encoding."""
    ids = indices('x', SIZE)
    write_colours(tmp_path / 'colours.png', ids)
    write_grey_label(tmp_path / 'indices.png', ids)
    for file, given, other in (('colours', 'camvid', 'camvid-colours'), ('indices', 'camvid-colours', 'camvid')):
        path = str(tmp_path / f'{file}.png')
        np.testing.assert_array_equal(read_train_ids(path, other), np.where(ids == 11, 255, ids))
        with pytest.raises(ValueError, match=rf"{file}.png: a PNG of 8 bits .*set ids='{other}'; otherwise remove"):
            read_train_ids(path, given)


def repack(path, kind, ids):
    """Write the label of `ids` in another kind of PNG."""
    if kind in ('LA', 'P'):  # grey with transparency; indices whose palette has some of the classes' colours
        picture = Image.fromarray(ids.astype(np.uint8), 'L')
        picture = picture.convert('LA') if kind == 'LA' else Image.frombytes('P', picture.size, picture.tobytes())
        if kind == 'P':
            picture.putpalette([128, 128, 128, 128, 0, 0, *range(30)])
    else:
        write_colours(path, ids)
        picture = Image.open(path).convert('RGBA')
        picture = picture.convert('RGB').quantize(64) if kind == 'packed' else picture
    picture.save(path)


@pytest.mark.parametrize(('kind', 'ids', 'error'), [
    ('RGBA', 'camvid-colours', None), ('packed', 'camvid-colours', None), ('P', 'camvid', None),
    ('RGBA', 'camvid', "set ids='camvid-colours'"), ('packed', 'camvid', "palette's .* set ids='camvid-colours'"),
    ('P', 'camvid-colours', "colours, such as RGB .* set ids='camvid'"),
    ('LA', 'camvid', 'another encoding than'), ('LA', 'camvid-colours', 'another encoding than')])
def test_labels_packed_by_other_programs(kind, ids, error, tmp_path):
    """Each kind is read right or refused, and the encoding that an error names reads the file."""
    path, raw = tmp_path / 'label.png', indices('x', SIZE)
    repack(path, kind, raw)
    if error is None:
        np.testing.assert_array_equal(read_train_ids(str(path), ids), np.where(raw == 11, 255, raw))
    else:
        with pytest.raises(ValueError, match=error):
            read_train_ids(str(path), ids)


@pytest.mark.parametrize('colour', [(192, 192, 192), (128, 64, 129)])  # defined by no class; of a resized label
def test_unknown_colours(colour, tmp_path):
    pixels = np.full((4, 4, 3), 128, np.uint8)
    pixels[1, 2] = colour
    Image.fromarray(pixels).save(tmp_path / 'label.png')
    with pytest.raises(UnknownIdsError, match=rf'label.png: 1 colours, such as RGB \[{", ".join(map(str, colour))}\]'):
        read_train_ids(str(tmp_path / 'label.png'), 'camvid-colours')
