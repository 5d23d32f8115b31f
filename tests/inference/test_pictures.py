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
    picture = drawing('colour', CLASSES, PALETTE)(IMAGE, LABEL)
    for y, x in np.ndindex(LABEL.shape):
        assert picture[y, x].tolist() == PALETTE[LABEL[y, x]][::-1]


@pytest.mark.parametrize('opacity', [0.0, 0.3, 1.0])
def test_overlays(opacity):
    draw = drawing('overlay', CLASSES, PALETTE, opacity)
    picture, colours = draw(IMAGE, LABEL), np.array(PALETTE)[LABEL][..., ::-1]
    assert picture.dtype == np.uint8
    assert np.abs(picture - (IMAGE * (1 - opacity) + colours * opacity)).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(draw(IMAGE.astype(np.float32), LABEL), picture)


def test_labels_are_the_networks_numbers_or_raw_ids():
    np.testing.assert_array_equal(drawing('labels', CLASSES, PALETTE)(IMAGE, LABEL), LABEL)
    picture = drawing('labels', CLASSES, PALETTE, ids='raw')(IMAGE, LABEL)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(to_train_ids(picture, 'cityscapes', 'x.png'), LABEL)
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
    decoded = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, picture)
