"""Read label PNGs of every family into train ids, with errors that name the file and the remedy."""

import io
import struct

import cv2
import mmengine.fileio as fileio
import numpy as np
from PIL import Image

from .encodings import UNKNOWN, Encoding, get_encoding
from .png import SIGNATURE as PNG_SIGNATURE
from .png import decode

PNG_END = b'IEND\xaeB`\x82'
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
GREY, PALETTE_TYPE = 0, 3  # PNG colour types with one channel
AGAIN = ('unpack or download this file again, or leave it out: list the other names in `ann_file`, or let '
         'tools/dataset/prepare.py list what is damaged, and give the dataset that list as `skip`')


def read_bytes(path: str, backend_args: dict | None = None) -> bytes:
    """A file's content by mmengine's backends; refuses missing, empty and truncated files."""
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such file; {AGAIN}') from error
    if not data:
        raise OSError(f'{path}: the file is empty; {AGAIN}')
    if data.startswith(PNG_SIGNATURE) and data.rfind(PNG_END) < 0:
        raise OSError(f'{path}: the PNG is truncated (its end marker is missing); {AGAIN}')
    if data.startswith(JPEG_START) and not _has_its_end(data):
        raise OSError(f'{path}: the JPEG is truncated (its end marker is missing); {AGAIN}')
    return data


def _has_its_end(jpeg: bytes) -> bool:
    """Whether an end marker follows the pixels; OpenCV before 4.11 fills up with grey what is cut off.

    The header's segments are passed over, for a thumbnail among them has an end marker of its own.
    """
    at = len(JPEG_START)
    while jpeg[at:at + 1] == b'\xff':
        marker = jpeg[at + 1:at + 2]
        if marker == b'\xda':  # the pixels
            return jpeg.rfind(JPEG_END, at) > at
        at += 1 if marker == b'\xff' else 2 + int.from_bytes(jpeg[at + 2:at + 4], 'big')
    return True  # of an unknown kind, of which OpenCV says what it thinks


def png_header(data: bytes, path: str) -> tuple[int, int, int, int]:
    """Width, height, bits per sample and colour type from the first 26 bytes of a PNG."""
    if len(data) < 26 or not data.startswith(PNG_SIGNATURE):
        raise OSError(f'{path}: not a PNG, but labels are read from PNG files; {AGAIN}')
    return struct.unpack('>IIBB', data[16:26])


def read_raw_ids(path: str, encoding: Encoding, backend_args: dict | None = None) -> np.ndarray:
    """The class ids as the file has them.

    Returns:
        np.ndarray: (H, W) uint8 or uint16, by `encoding.bits`.
    """
    data = read_bytes(path, backend_args)
    _, _, bits, color_type = png_header(data, path)
    single = color_type in (GREY, PALETTE_TYPE)
    if encoding.bits == 16:
        sound = bits == 16
    else:
        # Pillow scales grey samples of fewer than 8 bits, but leaves palette indices as they are.
        sound = single and (bits == 8 or color_type == PALETTE_TYPE)
    if not sound:
        kind = 'one channel' if single else 'several channels'
        raise ValueError(
            f'{path}: a PNG of {bits} bits and {kind}, but ids={encoding.name!r} expects '
            f'{encoding.description}; point `data_prefix["seg_map_path"]` and `seg_map_suffix` at '
            'the label files (not at colour pictures), or choose another `ids`'
        )
    return _decode_16_bit(data, path) if encoding.bits == 16 else _decode_8_bit(data, path)


def _decode_8_bit(data: bytes, path: str) -> np.ndarray:
    """One channel; Pillow keeps palette indices, where OpenCV would return the colours."""
    try:
        return np.array(Image.open(io.BytesIO(data)))
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # all occur on damaged files
        raise OSError(f'{path}: the PNG is damaged ({error}); {AGAIN}') from error


def _decode_16_bit(data: bytes, path: str) -> np.ndarray:
    """The first channel; OpenCV keeps 16 bits, where Pillow would silently drop eight of them."""
    pixels = decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError(f'{path}: the PNG is damaged; {AGAIN}')
    # OpenCV returns BGR(A): the file's first channel is its third.
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 2])


def to_train_ids(raw: np.ndarray, ids: str | Encoding, path: str) -> np.ndarray:
    """Map raw ids to train ids by one table lookup.

    Args:
        raw: (H, W) uint8 or uint16.
        ids: the encoding, or its name.
        path: the file, for the error.

    Returns:
        np.ndarray: (H, W) uint8, 0 to 18 (or to C - 1, with other classes), 255 = ignore.
    """
    encoding = get_encoding(ids)
    # OpenCV's lookup is seven times as fast as NumPy's, but has only 256 entries.
    label = cv2.LUT(raw, encoding.table) if raw.dtype == np.uint8 else encoding.table[raw]
    unknown = label == UNKNOWN
    if unknown.any():
        found = np.unique(raw[unknown])
        hint = ''
        if encoding.name == 'cityscapes' and 255 in found:
            hint = "; 255 occurs in train-id files, which ids='train' reads"
        raise ValueError(
            f'{path}: ids {found[:8].tolist()} are not in the map of ids={encoding.name!r} '
            f'({encoding.description}){hint}; {encoding.remedy}'
        )
    return label


def read_train_ids(path: str, ids: str | Encoding, backend_args: dict | None = None) -> np.ndarray:
    """Read a label file of an encoding as train ids: (H, W) uint8, from 0, 255 = ignore."""
    return to_train_ids(read_raw_ids(path, get_encoding(ids), backend_args), ids, path)
