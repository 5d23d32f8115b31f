"""Decoding returns OpenCV's pixels for any file; impossible sizes are refused before memory is allocated."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from mmseg_camix.datasets import GTADataset, PairedDataset, Position, image_files
from mmseg_camix.datasets.image_files import MAX_PIXELS, PNG_SIGNATURE, decode, read_bytes

from .tiny import make_gta


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


def png(width, height, stream=b'', *chunks):
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b'IHDR', header) + b''.join(chunks) + chunk(b'IDAT', stream) + chunk(b'IEND', b'')


ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # by 90 degrees
ROWS = zlib.compress(b''.join(b'\0' + row.tobytes() for row in pixels((20, 30, 3))))
FILES = {
    'photo': saved(pixels()),
    'not compressed': saved(pixels(), compress_level=0),
    'large': saved(pixels((300, 401, 3), 1)),
    'flat': saved(np.full((400, 500, 3), 7, np.uint8)),
    'one pixel': saved(pixels((1, 1, 3))),
    'grey': saved(pixels((40, 50))),
    'alpha': saved(np.dstack([pixels(), pixels((61, 203), 2)])),
    'grey and alpha': saved(pixels((33, 21, 2))),
    'palette': saved(np.arange(60, dtype=np.uint8).reshape(6, 10)),
    'one bit': saved(pixels((9, 13)) > 100),
    '16 bits': cv2.imencode('.png', pixels(dtype=np.uint16))[1].tobytes(),
    'gamma': png(30, 20, ROWS, chunk(b'gAMA', struct.pack('>I', 20000))),
    'significant bits': png(30, 20, ROWS, chunk(b'sBIT', bytes([5, 6, 5]))),
    'transparent colour': png(30, 20, ROWS, chunk(b'tRNS', struct.pack('>HHH', 90, 90, 90))),
    'rotated': saved(pixels(), exif=ROTATED),
    'animated': saved(pixels(), save_all=True, append_images=[Image.fromarray(pixels(seed=1))]),
    'JPEG': cv2.imencode('.jpg', pixels())[1].tobytes(),
}


@pytest.mark.parametrize('codec', ['imagecodecs', 'OpenCV'])
@pytest.mark.parametrize('flags', [cv2.IMREAD_COLOR, cv2.IMREAD_UNCHANGED])
@pytest.mark.parametrize('name', FILES)
def test_pixels_are_those_of_opencv(name, flags, codec, monkeypatch):
    if codec == 'OpenCV':
        monkeypatch.setattr(image_files, 'png_decode', None)
    expected = cv2.imdecode(np.frombuffer(FILES[name], np.uint8), flags)
    image = decode(FILES[name], flags)
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


@pytest.mark.skipif(image_files.png_decode is None, reason='the package imagecodecs is missing')
@pytest.mark.parametrize('name', ['photo', 'not compressed', 'large', 'flat', 'one pixel', 'gamma'])
def test_rgb_files_take_the_fast_path(name, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *args: pytest.fail('OpenCV decoded'))
    assert decode(FILES[name]).ndim == 3


@pytest.mark.parametrize('damage', [
    lambda data: data[:200], lambda data: data[:-20], lambda data: data[:8] + bytes(40),
    lambda data: data[:300] + b'\xff' * 9 + data[309:],
    lambda data: data[:16] + struct.pack('>I', 999) + data[20:],  # another width than the pixels have
    lambda data: data.replace(b'IDAT', b'IDAX'),
])
def test_damaged_files_decode_as_with_opencv(damage):
    data = damage(saved(pixels()))
    try:
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        expected = None
    image = decode(data)
    assert (image is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(image, expected)


def black_rows(width, height, at_once=100):
    """The zlib stream of a black picture. After a full flush blocks are independent, so that one serves for all."""
    compressor, size = zlib.compressobj(9, wbits=-15), height * (3 * width + 1)
    block = compressor.compress(bytes(at_once * (3 * width + 1))) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = size % 65521 << 16 | 1  # Adler-32 of zeros
    return b'\x78\xda' + block * (height // at_once) + b'\x03\x00' + checksum.to_bytes(4, 'big')


def peak_kib():
    """Most memory that this process has had since the last reset."""
    return int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])


BOMBS = {
    'PNG, 60000 x 60000': (png(60000, 60000), 'announces 60000x60000 pixels, more than its 57 bytes can hold'),
    'PNG, 2^31 squared': (png(2**31, 2**31), 'announces 2147483648x2147483648 pixels'),
    'PNG that holds its pixels': (png(20000, 20000, black_rows(20000, 20000)), 'more than 178 million pixels'),
    'BMP': (b'BM' + struct.pack('<IIIIiiHHIIiiII', 70, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(16),
            'more than 178 million pixels'),
}


def test_the_stream_of_a_bomb_is_that_of_a_picture():
    assert decode(png(300, 400, black_rows(300, 400))).shape == (400, 300, 3)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is measured as Linux counts it')
@pytest.mark.parametrize('name', BOMBS)
def test_impossible_sizes_are_refused_before_decoding(name, tmp_path):
    data, message = BOMBS[name]
    (tmp_path / 'bomb.png').write_bytes(data)
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    before = peak_kib()
    with pytest.raises(OSError, match=f'bomb.png: .*{message}'):
        read_bytes(str(tmp_path / 'bomb.png'))
    assert peak_kib() - before < 200_000


def test_a_flat_image_of_the_largest_ratio_is_accepted(tmp_path):
    image = np.zeros((4000, 4000, 3), np.uint8)
    assert image.size // 3 < MAX_PIXELS
    assert cv2.imwrite(str(tmp_path / 'flat.png'), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert decode(read_bytes(str(tmp_path / 'flat.png'))).shape == image.shape


def test_impossible_sizes_count_as_unreadable(tmp_path):
    (make_gta(tmp_path, 3) / 'images/00002.png').write_bytes(png(60000, 60000))
    source = GTADataset(str(tmp_path), pipeline=[dict(type='LoadImage'), dict(type='PackUDAInputs')])
    pairs = PairedDataset(source, source, skip_unreadable=True)
    reasons = [pairs[Position(0, position)]['source']['data_samples'].get('unreadable') for position in range(3)]
    assert sum(reason is not None and '60000x60000' in reason for reason in reasons) == 1


def test_postscript_is_not_run(tmp_path, monkeypatch):
    """mmseg reads labels with Pillow, which recognises PostScript by its content, whatever the suffix."""
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/trace\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    program = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n%%EOF\n'
    with pytest.raises(OSError, match='Ghostscript'):
        mmcv.imfrombytes(program, backend='pillow')
    assert not (tmp_path / 'trace').exists()
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)  # the control
    with pytest.raises(OSError, match='cannot identify'):
        mmcv.imfrombytes(program, backend='pillow')
    assert (tmp_path / 'trace').exists()
