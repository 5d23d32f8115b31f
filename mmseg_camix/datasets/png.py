"""Faster decoding of PNGs: ISA-L inflates, OpenCV does the rest. The pixels are OpenCV's, exactly.

Four fifths of the time in which OpenCV decodes a photograph's PNG go into zlib. ISA-L (package
`isal`) inflates three times as fast, but only inflates; so the compressed part of the file is
replaced by the same bytes "stored", which zlib copies, and OpenCV reads that. Where the package is
missing, or a file is in any way unusual, OpenCV gets the file as it is.
"""

import struct
import threading
import zlib

import cv2
import numpy as np

try:
    from isal import isal_zlib
except ImportError:  # an architecture for which there is no wheel
    isal_zlib = None

INFLATE_ERRORS = (zlib.error,) if isal_zlib is None else (zlib.error, isal_zlib.IsalError)
SIGNATURE = b'\x89PNG\r\n\x1a\n'
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PIECE = 1 << 14  # bytes that are inflated at a time: what fits into the processor's caches
_BLOCK = 65535  # the longest stored block
_END = b'\x01\x00\x00\xff\xff'  # an empty block that says it is the last
_reused = threading.local()


def decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """`cv2.imdecode`, faster for PNGs; None where OpenCV cannot read it."""
    quick = stored(data)
    image = cv2.imdecode(quick, flags)
    if image is None and len(quick) != len(data):
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return image


def stored(data: bytes) -> np.ndarray:
    """The same picture as a PNG that needs no inflating, or the file itself where that is not possible.

    Returns:
        (N,) uint8; valid until this thread's next call.
    """
    plain = np.frombuffer(data, np.uint8)
    if isal_zlib is None or not data.startswith(SIGNATURE):
        return plain
    try:
        return _Writer(data).write()
    except (_Unusual, isal_zlib.IsalError, struct.error, IndexError):
        return plain  # OpenCV says what it thinks of it


def inflate(data: bytes | memoryview, size: int) -> bytes:
    """Decompress a zlib stream of so many bytes; on damage one of INFLATE_ERRORS."""
    return (isal_zlib or zlib).decompress(data, bufsize=size)


class _Unusual(Exception):
    """Not the kind of file for which this is meant."""


class _Writer:
    """Copies the chunks of a PNG one by one; those with pixels it stores.

    Args:
        data: the file.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.view = data, memoryview(data)
        width, height, bits, kind, _, _, interlaced = struct.unpack('>IIBBBBB', data[16:29])
        if kind not in _CHANNELS or interlaced:
            raise _Unusual
        self.size = height * (1 + (width * bits * _CHANNELS[kind] + 7) // 8)  # with each row's filter
        # A piece adds at most 19 bytes. There is one for each chunk of the file, which has 12 itself, for
        # each `_PIECE` of input, and for each `_BLOCK` of output.
        pieces = len(data) // _PIECE + self.size // _BLOCK + 3
        self.out = _buffer(3 * len(data) + self.size + 19 * pieces)
        self.written, self.inflated, self.inflater = 0, 0, isal_zlib.decompressobj()

    def write(self) -> np.ndarray:
        """All chunks, in their order."""
        data, at, checksum = self.data, 8, b''
        self._put(SIGNATURE)
        while at < len(data):
            length, kind = struct.unpack('>I4s', data[at:at + 8])
            end = at + 8 + length
            if kind in (b'acTL', b'fdAT') or end + 4 > len(data):
                raise _Unusual
            if kind == b'IDAT':
                self._store(at + 8, end)
                checksum = (checksum + data[max(at + 8, end - 4):end])[-4:]  # of the pixels, at their end
            else:
                if kind == b'IEND' and checksum:
                    self._chunk(_END, checksum)  # it is still theirs
                self._put(self.view[at:end + 4])
            at = end + 4
        if self.inflated != self.size:
            raise _Unusual
        return np.frombuffer(self.out, np.uint8, self.written)

    def _store(self, start: int, end: int) -> None:
        if isal_zlib.crc32(self.view[start - 4:end]) != int.from_bytes(self.view[end:end + 4], 'big'):
            raise _Unusual
        for first in range(start, end, _PIECE):
            pixels = self.inflater.decompress(self.view[first:min(first + _PIECE, end)])
            for at in range(0, len(pixels), _BLOCK):
                part = pixels[at:at + _BLOCK]
                header = b'' if self.inflated else b'\x78\x01'  # zlib's
                self.inflated += len(part)
                if self.inflated > self.size:
                    raise _Unusual
                self._chunk(header + struct.pack('<BHH', 0, len(part), len(part) ^ 0xFFFF), part)

    def _chunk(self, *parts: bytes) -> None:
        """An IDAT chunk."""
        start = self.written
        self._put(struct.pack('>I4s', sum(map(len, parts)), b'IDAT'))
        for part in parts:
            self._put(part)
        self._put(struct.pack('>I', isal_zlib.crc32(memoryview(self.out)[start + 4:self.written])))

    def _put(self, part: bytes | memoryview) -> None:
        end = self.written + len(part)
        self.out[self.written:end] = part
        self.written = end


def _buffer(size: int) -> bytearray:
    """This thread's buffer of at least so many bytes: fresh memory costs more than it seems."""
    if len(getattr(_reused, 'buffer', b'')) < size:
        _reused.buffer = bytearray(size)
    return _reused.buffer
