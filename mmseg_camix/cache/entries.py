"""One file of the cache: an image as loaded and resized, its label, and their metadata.

A file is a line that names the format, the length of its header, the header (JSON), the label's ids as a zlib stream,
and the image's tiles.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.image_files import INFLATE_ERRORS, inflate
from .recipe import as_tuples
from .tiles import TiledArray, compress_tiles

MAGIC = b'mmseg_camix cache 1\n'
SUFFIX = '.cache'
ARRAYS = ('img', 'gt_seg_map')
REMEDY = 'rebuild it by mmseg-camix cache CONFIG --verify'


class CacheError(RuntimeError):
    """A file of the cache is missing, stale or damaged; the message has the remedy."""


def stamp(path: str | os.PathLike) -> list[int]:
    """Size and time of last change, which identify a file's content."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def pack_entry(results: dict, added: dict, stamps: dict[str, list[int]]) -> tuple[bytes, str]:
    """Return the content of a file, and the digest of its pixels.

    Args:
        results: of the pipeline's fixed part; `img` (H, W, 3) uint8, perhaps `gt_seg_map` (H, W) uint8.
        added: other results of this part: numbers, strings, and tuples of them.
        stamps: of the source files, by key of the results.
    """
    image, label = results['img'], results.get('gt_seg_map')
    for name, array in (('img', image), ('gt_seg_map', label)):
        if array is not None and array.dtype != np.uint8:
            raise TypeError(f'{results["img_path"]}: `{name}` is {array.dtype}, but the cache stores uint8; leave '
                            'to_float32 off')
    tiles = compress_tiles(image)
    labels = b'' if label is None else zlib.compress(label.tobytes())
    header = dict(
        digest=pixel_digest(image, label), stamps=stamps, added={name: _plain(name, v) for name, v in added.items()},
        image=list(image.shape), label=None if label is None else list(label.shape), label_bytes=len(labels),
        tiles=[len(tile) for tile in tiles])
    text = json.dumps(header, sort_keys=True).encode()
    return b''.join([MAGIC, struct.pack('>I', len(text)), text, labels, *tiles]), header['digest']


def pixel_digest(image: np.ndarray, label: np.ndarray | None) -> str:
    """SHA-256 of an image and its label, independent of their compression."""
    digest = hashlib.sha256(repr((image.shape, None if label is None else label.shape)).encode())
    for array in (image, label):
        if array is not None:
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(name, part) for part in value]
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f'the cache cannot store {name!r} ({type(value).__name__}), added before the crop; '
                    'give Cached only the transforms that load and resize')


class Entry:
    """A file of the cache, of which only the header has been read.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        try:
            with open(self.path, 'rb') as file:
                start = file.read(len(MAGIC) + 4)
                if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 4:
                    raise self.damaged('not a file of this cache, or of another version of it')
                length, = struct.unpack('>I', start[len(MAGIC):])
                text = file.read(length)
                self.size = os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            raise CacheError(f'{self.path}: not in the cache; {REMEDY}') from error
        try:
            self.header = json.loads(text)
        except ValueError as error:
            raise self.damaged('its header is unreadable') from error
        self._label_start = len(MAGIC) + 4 + length
        self._tiles_start = self._label_start + self.header['label_bytes']
        if self.size != self._tiles_start + sum(self.header['tiles']):
            raise self.damaged('its length differs from its header')

    def damaged(self, reason: str) -> CacheError:
        """The error about a damaged file."""
        return CacheError(f'{self.path}: {reason}; {REMEDY}')

    def is_current(self, info: dict) -> bool:
        """Whether it was built from a sample's files as they are now."""
        return self.header['stamps'] == {key: stamp(info[key]) for key in self.header['stamps'] if key in info}

    def added(self) -> dict:
        """What loading and resizing added to the results, besides the arrays."""
        return as_tuples(self.header['added'])

    def image(self) -> TiledArray:
        """The image, which is read when it is cropped."""
        return TiledArray(self.header['image'], self.header['tiles'], self._read_tiles, self.damaged)

    def label(self) -> np.ndarray | None:
        """(H, W) uint8 train ids."""
        shape: Sequence[int] | None = self.header['label']
        if shape is None:
            return None
        try:
            ids = inflate(self._read(self._label_start, self._tiles_start), shape[0] * shape[1])
            return np.frombuffer(ids, np.uint8).reshape(shape).copy()
        except (*INFLATE_ERRORS, ValueError) as error:
            raise self.damaged(f'its label is damaged ({error})') from error

    def whole_image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.asarray(self.image())

    def is_intact(self) -> bool:
        """Whether all its pixels are those that were written."""
        try:
            return pixel_digest(self.whole_image(), self.label()) == self.header['digest']
        except CacheError:
            return False

    def _read_tiles(self, start: int, end: int) -> bytes:
        return self._read(self._tiles_start + start, self._tiles_start + end)

    def _read(self, start: int, end: int) -> bytes:
        with open(self.path, 'rb') as file:
            file.seek(start)
            return file.read(end - start)


def entry_path(folder: Path, image: str, root: str) -> Path:
    """Path of an image's entry: below the cache as the image below the data root."""
    relative = os.path.relpath(image, root)
    if relative.startswith('..'):
        raise CacheError(f'{image} does not lie below {root!r}, as the files of a cached dataset must; set `root` to '
                         'the folder that holds them')
    return folder / (relative + SUFFIX)
