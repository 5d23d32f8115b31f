"""Images in tiles: every pixel comes back, and only the tiles that a crop touches are read."""

import numpy as np
import pytest

from mmseg_camix.cache.tiles import TILE, TiledArray, compress_tiles


def picture(shape, seed=0):
    y, x = np.mgrid[:shape[0], :shape[1]]
    noise = np.random.default_rng(seed).integers(0, 40, shape)
    return ((y + 2 * x)[..., None] + noise).astype(np.uint8)  # wraps at 256


class Recorded:
    """The tiles in one piece, and what was read of it."""

    def __init__(self, image):
        tiles = compress_tiles(image)
        self.data, self.lengths, self.reads = b''.join(tiles), [len(t) for t in tiles], []
        self.array = self.fresh(image.shape)

    def fresh(self, shape):
        """One that has read nothing yet."""
        return TiledArray(shape, self.lengths, self.read)

    def read(self, start, end):
        self.reads.append((start, end))
        return self.data[start:end]

    def tiles_read(self):
        """Which tiles were read, by the slow way: each byte's tile."""
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return [int(tile) for start, end in self.reads for tile in np.unique(owner[start:end])]


@pytest.mark.parametrize('shape', [(1, 1, 3), (TILE, TILE, 3), (TILE + 1, TILE - 1, 3), (300, 401, 3), (5, 700, 1)])
@pytest.mark.parametrize('make', [picture, lambda shape: np.zeros(shape, np.uint8),
                                  lambda shape: np.full(shape, 255, np.uint8)])
def test_every_pixel_comes_back(shape, make):
    image = make(shape)
    pixels = np.asarray(Recorded(image).array)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, image)


def test_crops_are_those_of_the_array():
    image, random = picture((300, 401, 3)), np.random.default_rng(1)
    recorded = Recorded(image)
    for _ in range(25):
        y, x = np.sort(random.integers(-20, 330, 2)), np.sort(random.integers(-20, 440, 2))
        for key in ((slice(*y), slice(*x)), (slice(*y), slice(*x), ...), (slice(*y), slice(*x), slice(None))):
            crop = recorded.fresh(image.shape)[key]
            np.testing.assert_array_equal(crop, image[key])
            assert crop.flags.writeable


@pytest.mark.parametrize('key', [3, ..., slice(4, 9), (7, 8), (slice(0, 9, 2), slice(3)), (slice(None), slice(None), 0),
                                 (slice(None, None, -1), slice(None)), (None, 2)])
def test_other_keys_are_those_of_the_array(key):
    image = picture((140, 150, 3))
    np.testing.assert_array_equal(Recorded(image).array[key], image[key])


def test_only_what_a_crop_touches_is_read_and_only_once():
    image = picture((300, 401, 3))  # 3 rows of 4 tiles
    recorded = Recorded(image)
    recorded.array[130:140, 10:300]
    assert recorded.tiles_read() == [4, 5, 6]
    assert len(recorded.reads) == 1  # they lie side by side
    recorded.array[250:260, 260:390]
    assert recorded.tiles_read() == [4, 5, 6, 7, 10, 11]
    recorded.array[128:256, 0:401]
    assert recorded.tiles_read() == [4, 5, 6, 7, 10, 11]
    np.testing.assert_array_equal(np.asarray(recorded.array), image)
    assert sorted(recorded.tiles_read()) == list(range(12))


def test_it_has_the_attributes_of_an_array():
    image = picture((30, 40, 3))
    array = Recorded(image).array
    assert (array.shape, array.dtype, array.ndim, len(array)) == (image.shape, image.dtype, 3, 30)
    assert np.asarray(array, np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.flip(array, 1), image[:, ::-1])
    with pytest.raises(ValueError, match='3 tiles for an image of 40x30'):
        TiledArray((30, 40, 3), [1, 2, 3], None)


@pytest.mark.parametrize('place', [0.01, 0.5, 0.99])
def test_damage_is_noticed(place):
    image = picture((130, 140, 3))
    recorded = Recorded(image)
    at = int(place * recorded.lengths[0])
    recorded.data = recorded.data[:at] + bytes([recorded.data[at] ^ 4]) + recorded.data[at + 1:]
    with pytest.raises(ValueError, match='a tile of its image is damaged'):
        recorded.array[:20, :20]
    np.testing.assert_array_equal(recorded.array[:20, 130:], image[:20, 130:])  # another tile
