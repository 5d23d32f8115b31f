"""What is written: colours, overlays, numbers."""

import cv2
import numpy as np
import pytest

from mmseg_camix.datasets.encodings import CLASSES, PALETTE, get_encoding
from mmseg_camix.datasets.image_files import to_train_ids
from mmseg_camix_tools.inference.pictures import drawing, png, raw_ids

IMAGE = np.random.RandomState(0).randint(0, 256, (6, 8, 3), np.uint8)
LABEL = np.random.RandomState(1).randint(0, 19, (6, 8)).astype(np.uint8)


def test_colours_are_bgr():
    found = drawing('colour', CLASSES, PALETTE)(IMAGE, LABEL)
    for y, x in np.ndindex(LABEL.shape):
        assert found[y, x].tolist() == PALETTE[LABEL[y, x]][::-1]


@pytest.mark.parametrize('opacity', [0.0, 0.3, 1.0])
def test_overlays(opacity):
    found = drawing('overlay', CLASSES, PALETTE, opacity)(IMAGE, LABEL)
    colours = np.array(PALETTE)[LABEL][..., ::-1]
    assert found.dtype == np.uint8
    assert np.abs(found - (IMAGE * (1 - opacity) + colours * opacity)).max() <= 0.5 + 1e-6


def test_an_image_in_floats():
    draw = drawing('overlay', CLASSES, PALETTE)
    np.testing.assert_array_equal(draw(IMAGE.astype(np.float32), LABEL), draw(IMAGE, LABEL))


def test_labels_are_the_networks_numbers():
    np.testing.assert_array_equal(drawing('labels', CLASSES, PALETTE)(IMAGE, LABEL), LABEL)


def test_raw_ids_come_back_as_train_ids():
    found = drawing('labels', CLASSES, PALETTE, ids='raw')(IMAGE, LABEL)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(to_train_ids(found, 'cityscapes', 'x.png'), LABEL)
    assert raw_ids(['car', 'road']).tolist() == [26, 7]
    assert raw_ids(CLASSES).tolist() == list(get_encoding('cityscapes').raw_ids.values())


def test_mistakes():
    with pytest.raises(ValueError, match='no raw id for grass, mud; write'):
        drawing('labels', ['grass', 'road', 'mud'], PALETTE[:3], ids='raw')
    for opacity in (-0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match='opacity=.* must lie in'):
            drawing('overlay', CLASSES, PALETTE, opacity)


@pytest.mark.parametrize(('picture', 'dtype'), [(LABEL, np.uint8), (IMAGE, np.uint8),
                                                (LABEL.astype(np.int16) * 300, np.uint16)])
def test_files(picture, dtype):
    found = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, picture)
