"""The fast decoder: OpenCV's pixels, whatever the file is like."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_camix.datasets import png


def pixels(shape=(61, 203, 3), seed=0, dtype=np.uint8):
    """Smooth with some noise, so that every filter and every kind of block occurs."""
    y, x = np.mgrid[:shape[0], :shape[1]]
    smooth = 90 + 60 * np.sin(x / 17) + y
    noisy = (smooth[..., None] if len(shape) == 3 else smooth) + np.random.default_rng(seed).integers(0, 9, shape)
    return (noisy * (257 if dtype == np.uint16 else 1)).clip(0, np.iinfo(dtype).max).astype(dtype)


def saved(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, 'PNG', **options)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def handmade(array, split=(1 << 30,), tail=b'', kind=2):
    """A PNG by hand: its compressed pixels in chunks of these lengths (the last one repeated)."""
    rows = b''.join(b'\0' + row.tobytes() for row in array)
    data, chunks, lengths = zlib.compress(rows) + tail, [], list(split)
    while data:
        length = lengths.pop(0) if len(lengths) > 1 else lengths[0]
        chunks.append(chunk(b'IDAT', data[:length]))
        data = data[length:]
    header = struct.pack('>IIBBBBB', array.shape[1], array.shape[0], 8, kind, 0, 0, 0)
    return png.SIGNATURE + chunk(b'IHDR', header) + b''.join(chunks) + chunk(b'IEND', b'')


def opencv(data, flags=cv2.IMREAD_COLOR):
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


FILES = {
    'photo': saved(pixels()),
    'best compression': saved(pixels(), optimize=True),
    'not compressed': saved(pixels(), compress_level=0),
    'larger than many blocks': saved(pixels((300, 401, 3), 1)),
    'flat': saved(np.full((400, 500, 3), 7, np.uint8)),
    'one pixel': saved(pixels((1, 1, 3))),
    'grey': saved(pixels((40, 50))),
    'alpha': saved(np.dstack([pixels(), pixels((61, 203), 2)])),
    'grey and alpha': saved(pixels((33, 21, 2))),
    'palette': saved(np.arange(60, dtype=np.uint8).reshape(6, 10)),
    'one bit': saved(pixels((9, 13)) > 100),
    '16 bits': cv2.imencode('.png', pixels(dtype=np.uint16))[1].tobytes(),
    'chunks of 7 bytes': handmade(pixels((20, 30, 3)), (7,)),
    'checksum in two chunks': handmade(pixels((20, 30, 3)), (len(zlib.compress(b''.join(
        b'\0' + row.tobytes() for row in pixels((20, 30, 3))))) - 2, 100)),
}


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('flags', [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED])
def test_pixels_are_opencvs(name, flags):
    data = FILES[name]
    expected = opencv(data, flags)
    assert expected is not None
    found = png.decode(data, flags)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(png.isal_zlib is None, reason='the package isal is missing')
@pytest.mark.parametrize('name', FILES)
def test_it_is_the_fast_path_that_was_tested(name):
    data, quick = FILES[name], png.stored(FILES[name]).tobytes()
    assert quick != data
    before, after = (b''.join(content for kind, content in chunks_of(png_file) if kind == b'IDAT')
                     for png_file in (data, quick))
    rows = zlib.decompress(before)  # with each row's filter
    assert zlib.decompress(after) == rows
    assert len(after) > len(rows)  # nothing is compressed any more


def chunks_of(data):
    at = 8
    while at < len(data):
        length, kind = struct.unpack('>I4s', data[at:at + 8])
        assert zlib.crc32(data[at + 4:at + 8 + length]) == int.from_bytes(data[at + 8 + length:at + 12 + length], 'big')
        yield kind, data[at + 8:at + 8 + length]
        at += 12 + length


def test_what_lies_beside_the_pixels_stays():
    info = Image.open(io.BytesIO(saved(pixels(), dpi=(72, 72)))).info
    data = saved(pixels(), dpi=(72, 72))
    assert Image.open(io.BytesIO(png.stored(data).tobytes())).info == info != {}


def test_other_formats_and_interlaced_files_are_left_to_opencv():
    jpeg = cv2.imencode('.jpg', pixels())[1].tobytes()
    assert png.stored(jpeg).tobytes() == jpeg
    np.testing.assert_array_equal(png.decode(jpeg), opencv(jpeg))
    data = bytearray(saved(pixels()))
    data[28] = 1  # says that it is interlaced
    assert png.stored(bytes(data)).tobytes() == data
    moving = io.BytesIO()
    Image.fromarray(pixels()).save(moving, 'PNG', save_all=True, append_images=[Image.fromarray(pixels(seed=1))])
    assert png.stored(moving.getvalue()).tobytes() == moving.getvalue()
    np.testing.assert_array_equal(png.decode(moving.getvalue()), opencv(moving.getvalue()))


@pytest.mark.parametrize('damage', [
    lambda data: data[:200], lambda data: data[:-20], lambda data: b'', lambda data: data[:8] + bytes(40),
    lambda data: data[:300] + b'\xff' * 9 + data[309:],
    lambda data: data[:16] + struct.pack('>I', 999) + data[20:],  # another width than the pixels have
    lambda data: data.replace(b'IDAT', b'IDAX'),
])
def test_damage_gives_what_opencv_gives(damage):
    data = damage(saved(pixels()))
    try:
        expected = opencv(data)
    except cv2.error:
        with pytest.raises(cv2.error):
            png.decode(data)
        return
    found = png.decode(data)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


def test_more_pixels_than_the_size_says():
    data = handmade(pixels((20, 30, 3)))
    longer = data[:20] + struct.pack('>I', 10) + data[24:]
    header = longer[12:29]
    longer = longer[:29] + struct.pack('>I', zlib.crc32(header)) + longer[33:]
    assert png.stored(longer).tobytes() == longer


def test_the_buffer_is_used_again_and_results_do_not_share_it():
    first = png.decode(FILES['photo'])
    copy = first.copy()
    png.decode(FILES['larger than many blocks'])
    png.decode(FILES['flat'])
    np.testing.assert_array_equal(first, copy)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(png, 'isal_zlib', None)
    data = FILES['photo']
    assert png.stored(data).tobytes() == data
    np.testing.assert_array_equal(png.decode(data), opencv(data))
