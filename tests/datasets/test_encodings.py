"""Raw ids against the published tables of the datasets, read one id at a time."""

import numpy as np
import pytest

from mmseg_camix.datasets.encodings import CLASSES, ENCODINGS, SYNTHIA_13, SYNTHIA_16, get_encoding

# Names of all raw ids, in order, as the datasets' documentation gives them.
CITYSCAPES_NAMES = ('unlabeled', 'ego vehicle', 'rectification border', 'out of roi', 'static', 'dynamic', 'ground',
                    'road', 'sidewalk', 'parking', 'rail track', 'building', 'wall', 'fence', 'guard rail', 'bridge',
                    'tunnel', 'pole', 'polegroup', 'traffic light', 'traffic sign', 'vegetation', 'terrain', 'sky',
                    'person', 'rider', 'car', 'truck', 'bus', 'caravan', 'trailer', 'train', 'motorcycle', 'bicycle',
                    'license plate')
SYNTHIA_NAMES = ('void', 'sky', 'building', 'road', 'sidewalk', 'fence', 'vegetation', 'pole', 'car', 'traffic sign',
                 'person', 'bicycle', 'motorcycle', 'parking slot', 'road work', 'traffic light', 'terrain', 'rider',
                 'truck', 'bus', 'train', 'wall', 'lane marking')


@pytest.mark.parametrize(('ids', 'names', 'present'),
                         [('cityscapes', CITYSCAPES_NAMES, CLASSES), ('synthia', SYNTHIA_NAMES, SYNTHIA_16)])
def test_every_raw_id_becomes_the_class_of_its_name(ids, names, present):
    table = get_encoding(ids).table
    for raw_id, name in enumerate(names):
        expected = CLASSES.index(name) if name in present else 255
        assert table[raw_id] == expected, name
    assert (table[len(names) :] == 254).all()  # everything else is unknown, not ignored
    assert len(table) == 2 ** ENCODINGS[ids].bits


def test_train_ids_stay_and_their_table_is_read_only():
    table = get_encoding('train').table
    assert table[:19].tolist() == list(range(19))
    assert table[255] == 255
    assert (table[19:255] == 254).all()
    assert table.dtype == np.uint8
    with pytest.raises(ValueError):
        table[0] = 3


def test_names_of_encodings_and_subsets():
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)
    assert set(SYNTHIA_13) < set(SYNTHIA_16) < set(CLASSES)
    with pytest.raises(ValueError, match="'gta' is not a label encoding; available: cityscapes, s"):
        get_encoding('gta')
