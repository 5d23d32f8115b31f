"""Read images and label PNGs; errors name the file and what is wrong with it."""

import io
import struct
import zlib

import cv2
import mmengine.fileio as fileio
import numpy as np
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from .encodings import CUSTOM, UNKNOWN, Encoding, colour_id, get_encoding

try:
    from imagecodecs import PngError, png_decode
except ImportError:  # a platform without a wheel: OpenCV decodes, a quarter slower
    PngError, png_decode = RuntimeError, None
try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None

# For PostScript, a program, Pillow would start Ghostscript, whatever the suffix of the file.
EpsImagePlugin.gs_binary = False
INFLATE_ERRORS = (zlib.error,) if isal_zlib is None else (zlib.error, isal_zlib.IsalError)
PNG_SIGNATURE, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
RGB, PALETTE, RGBA = 2, 3, 6  # PNG colour types
# Chunks that change how pixels are shown. OpenCV reads files that have one.
UNUSUAL_CHUNKS = (b'tRNS', b'eXIf', b'acTL')
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # Pillow refuses larger images, too
MAX_DEFLATE_RATIO = 1032  # of zlib's format


def read_bytes(path: str, backend_args: dict | None = None) -> bytes:
    """Return a file's content; refuse missing, empty and truncated files, and sizes that cannot be true.

    An image of a few bytes may announce thousands of millions of pixels, for which a decoder would allocate memory.

    Raises:
        OSError: without `errno`; the message says what is wrong with the file.
    """
    try:
        data = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such file') from error
    if not data:
        raise OSError(f'{path}: the file is empty')
    if data.startswith(PNG_SIGNATURE) and data.rfind(PNG_END) < 0:
        raise OSError(f'{path}: the PNG is truncated (its end marker is missing)')
    if data.startswith(JPEG_START) and not _has_end_marker(data):
        raise OSError(f'{path}: the JPEG is truncated (its end marker is missing)')
    _refuse_impossible_size(data, path)
    return data


def _has_end_marker(jpeg: bytes) -> bool:
    """Whether an end marker follows the pixels; OpenCV before 4.11 fills missing pixels with grey.

    Segments of the header are skipped, because a thumbnail among them has an end marker of its own.
    """
    position = len(JPEG_START)
    while jpeg[position:position + 1] == b'\xff':
        marker = jpeg[position + 1:position + 2]
        if marker == b'\xda':  # the pixels
            return jpeg.rfind(JPEG_END, position) > position
        position += 1 if marker == b'\xff' else 2 + int.from_bytes(jpeg[position + 2:position + 4], 'big')
    return True  # an unknown kind of JPEG: left to the decoder


def _refuse_impossible_size(data: bytes, path: str) -> None:
    if data.startswith(PNG_SIGNATURE):
        width, height, bits, color_type = png_header(data, path)
        num_bytes = width * height * bits * CHANNELS.get(color_type, 1) // 8
        if num_bytes > MAX_DEFLATE_RATIO * len(data) + 1024:
            raise OSError(f'{path}: the PNG announces {width}x{height} pixels, more than its {len(data)} bytes can '
                          'hold')
    else:
        try:
            width, height = Image.open(io.BytesIO(data)).size
        except Image.DecompressionBombError:
            width = height = MAX_PIXELS
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error):
            return  # the decoder reports it
    if width * height > MAX_PIXELS:
        raise OSError(f'{path}: the image announces more than {MAX_PIXELS // 10**6} million pixels; cut it into tiles')


def png_header(data: bytes, path: str) -> tuple[int, int, int, int]:
    """Return width, height, bits per sample and colour type from the first 26 bytes of a PNG."""
    if len(data) < 26 or not data.startswith(PNG_SIGNATURE):
        raise OSError(f'{path}: not a PNG, but labels are read from PNG files')
    return struct.unpack('>IIBB', data[16:26])


def decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Return what `cv2.imdecode` returns, faster for RGB PNGs; None where OpenCV cannot read it."""
    if png_decode is not None and _is_plain_rgb(data, flags):
        try:
            return cv2.cvtColor(png_decode(data), cv2.COLOR_RGB2BGR)
        except PngError:
            pass  # OpenCV tolerates some defects
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _is_plain_rgb(data: bytes, flags: int) -> bool:
    if len(data) < 26 or not data.startswith(PNG_SIGNATURE):
        return False
    bits, color_type = data[24:26]
    return (color_type == RGB and (bits == 8 or (bits == 16 and flags == cv2.IMREAD_UNCHANGED))
            and not any(chunk in data for chunk in UNUSUAL_CHUNKS))


def inflate(data: bytes | memoryview, size: int) -> bytes:
    """Decompress a zlib stream to `size` bytes; raise one of INFLATE_ERRORS if it is damaged."""
    return (isal_zlib or zlib).decompress(data, bufsize=size)


def read_raw_ids(path: str, encoding: Encoding, backend_args: dict | None = None) -> np.ndarray:
    """Return the class ids as the label file holds them: (H, W) uint8 or uint16, by `encoding.bits`."""
    data = read_bytes(path, backend_args)
    _, _, bits, color_type = png_header(data, path)
    if not _fits(encoding, bits, color_type):
        single = CHANNELS.get(color_type) == 1
        kind = 'one channel' if single else 'several channels'
        other = encoding.sibling if encoding.sibling and _fits(get_encoding(encoding.sibling), bits, color_type) else ''
        raise ValueError(f'{path}: a PNG of {bits} bits and {kind}, but {encoding.description} is expected; '
                         f'{_format_remedy(encoding, bits, single, other)}')
    if encoding.colours:
        return _decode_colours(data, path, encoding)
    return _decode_16_bit(data, path) if encoding.bits == 16 else _decode_8_bit(data, path, encoding)


def _fits(encoding: Encoding, bits: int, color_type: int) -> bool:
    """Whether a PNG with these bits per sample and this colour type can hold such labels."""
    if encoding.colours:
        return color_type == PALETTE or (bits == 8 and color_type in (RGB, RGBA))
    if encoding.bits == 16:
        return bits == 16
    # Pillow scales grey samples of fewer than 8 bits, but not palette indices.
    return CHANNELS.get(color_type) == 1 and (bits == 8 or color_type == PALETTE)


def _format_remedy(encoding: Encoding, bits: int, single: bool, other: str) -> str:
    """What to do; `other` is the encoding of the same family that such a file can have, or ''."""
    if other:
        return _sibling_remedy(other)
    if encoding.name != CUSTOM:
        return ('point `data_prefix["seg_map_path"]` and `seg_map_suffix` at the label files (not at colour pictures), '
                f'or choose another encoding than ids={encoding.name!r}')
    if single and bits in (8, 16):
        return f'set bits={bits} in FolderDataset'
    if single:
        return f'save the labels with {encoding.bits} bits for each pixel'
    return 'point `labels` at files with one class number per pixel, not at colour pictures'


def _sibling_remedy(other: str) -> str:
    return f'if all labels of the folder are such files, set ids={other!r}; otherwise remove those of the other kind'


def _decode_8_bit(data: bytes, path: str, encoding: Encoding) -> np.ndarray:
    """One channel; Pillow keeps palette indices, where OpenCV would return the colours."""
    try:
        image = Image.open(io.BytesIO(data))
        raw, palette = np.array(image), image.getpalette() if encoding.sibling else None
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # all occur on damaged files
        raise OSError(f'{path}: the PNG is damaged ({error})') from error
    if palette:
        _refuse_colours(raw, np.array(palette, np.uint8).reshape(-1, 3), path, encoding)
    return raw


def _refuse_colours(raw: np.ndarray, palette: np.ndarray, path: str, encoding: Encoding) -> None:
    """Refuse indices into a palette (N, 3) of the sibling's colours that are not the classes: RGB labels, packed."""
    classes = get_encoding(encoding.sibling).table[colour_id(*palette.T)]
    if (palette & 63).any() or (classes == UNKNOWN).any() or (used := np.unique(raw))[-1] >= len(palette):
        return
    if (classes[used] != encoding.table[used]).any():
        raise ValueError(f"{path}: the palette's colours are those of ids={encoding.sibling!r}, but its indices are "
                         f'not the classes; {_sibling_remedy(encoding.sibling)}')


def _decode_16_bit(data: bytes, path: str) -> np.ndarray:
    """The first channel; OpenCV keeps 16 bits, where Pillow would silently drop eight of them."""
    pixels = decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError(f'{path}: the PNG is damaged')
    # OpenCV returns BGR(A): the file's first channel is its third.
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 2])


def _decode_colours(data: bytes, path: str, encoding: Encoding) -> np.ndarray:
    """The `colour_id` of each pixel; refuse colours that the encoding does not define."""
    pixels = decode(data)
    if pixels is None:
        raise OSError(f'{path}: the PNG is damaged')
    blue, green, red = cv2.split(pixels)
    raw = colour_id(red, green, blue)
    unknown = (pixels & 63).any(2) | (encoding.table[raw] == UNKNOWN)
    if unknown.any():
        colours = np.unique(pixels[unknown][:, ::-1], axis=0)
        indexed = encoding.sibling and png_header(data, path)[3] == PALETTE
        raise UnknownIdsError(f'{path}: {len(colours)} colours, such as RGB {colours[0].tolist()}, are not in the map '
                              f'of ids={encoding.name!r} ({encoding.description}); labels must not be resized or '
                              'compressed with loss: unpack the file again'
                              + (f'; {_sibling_remedy(encoding.sibling)}' if indexed else ''))
    return raw


def to_train_ids(raw: np.ndarray, ids: str | Encoding, path: str) -> np.ndarray:
    """Map raw ids, (H, W) uint8 or uint16, to train ids, (H, W) uint8 from 0, 255 = ignore; `path` is for the error."""
    encoding = get_encoding(ids)
    # OpenCV's lookup is seven times as fast as NumPy's, but has only 256 entries.
    label = cv2.LUT(raw, encoding.table) if raw.dtype == np.uint8 else encoding.table[raw]
    unknown = label == UNKNOWN
    if unknown.any():
        values = np.unique(raw[unknown])
        train_hint = encoding.name == 'cityscapes' and 255 in values
        mapping = '`classes`' if encoding.name == CUSTOM else f'the map of ids={encoding.name!r}'
        raise UnknownIdsError(f'{path}: ids {values[:8].tolist()} are not in {mapping} ({encoding.description})'
                              + ("; 255 occurs in train-id files, which ids='train' reads" if train_hint else '')
                              + f'; {encoding.remedy}')
    return label


class UnknownIdsError(ValueError):
    """A label file holds ids that its encoding does not define."""


def read_train_ids(path: str, ids: str | Encoding, backend_args: dict | None = None) -> np.ndarray:
    """Read a label file as train ids: (H, W) uint8, from 0, 255 = ignore."""
    return to_train_ids(read_raw_ids(path, get_encoding(ids), backend_args), ids, path)
