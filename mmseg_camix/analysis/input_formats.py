"""Formats in which a cache could keep its tiles: their size, and how long a crop takes to read."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from mmcv.image import imresize

from ..cache.tiles import TILE, _compress, _decompress
from ..datasets.png import decode

CROP = 512
SETS = dict(gta=('gta/images/00001.png', (1280, 720)),
            cityscapes=('cityscapes/leftImg8bit/train/drawn/drawn_000000_000019_leftImg8bit.png', (1024, 512)))
Codec = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, tuple[int, int]], np.ndarray]]


def codecs() -> dict[str, Codec]:
    """Name -> how a tile is written, and read again; those of packages that are missing are left out."""
    found = {
        'raw': (lambda tile: tile.tobytes(), _shaped),
        'PNG': (_opencv('.png'), lambda data, size: cv2.imdecode(np.frombuffer(data, np.uint8), -1)),
        'PNG, inflated by ISA-L': (_opencv('.png'), lambda data, size: decode(data, -1)),
        'WebP, lossless': (_opencv('.webp', cv2.IMWRITE_WEBP_QUALITY, 101),
                           lambda data, size: cv2.imdecode(np.frombuffer(data, np.uint8), -1)),
        'rows, zlib': (lambda tile: zlib.compress(_rows(tile)),
                       lambda data, size: _sum(zlib.decompress(data, bufsize=_bytes(size)), size)),
        'rows, Huffman, zlib': (_compress, lambda data, size: _sum(zlib.decompress(data, bufsize=_bytes(size)), size)),
        'rows, Huffman, ISA-L (chosen)': (_compress, lambda data, size: _decompress(data, *size, 3)),
    }
    for name, module, make in (('QOI', 'qoi', _qoi), ('rows, zstd', 'zstandard', _zstd),
                               ('rows, LZ4', 'lz4.block', _lz4)):
        try:
            found[name] = make(import_module(module))
        except ImportError:
            continue
    return found


def compare_formats(root: Path, rounds: int) -> str:
    """A Markdown table."""
    lines = [f'| tiles of {TILE}x{TILE} | ' + ' | '.join(
        f'{name}: MB | of raw | write, ms | read a crop, ms' for name in SETS) + ' |',
        '|---|' + '---:|' * 4 * len(SETS)]
    images = [imresize(cv2.imread(str(root / path)), size) for path, size in SETS.values()]
    for name, codec in codecs().items():
        cells = []
        for image in images:
            size, write, read = measure(image, codec, rounds)
            cells += [f'{size / 1e6:.2f}', f'{size / image.nbytes:.2f}', f'{write * 1e3:.0f}', f'{read * 1e3:.1f}']
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def measure(image: np.ndarray, codec: Codec, rounds: int) -> tuple[int, float, float]:
    """Bytes of all tiles, CPU seconds to write them, and CPU seconds to read a random crop."""
    write, read = codec
    height, width = image.shape[:2]
    start = time.process_time()
    tiles = {(y, x): write(np.ascontiguousarray(image[y:y + TILE, x:x + TILE]))
             for y in range(0, height, TILE) for x in range(0, width, TILE)}
    writing, reading, random = time.process_time() - start, [], np.random.default_rng(0)
    for _ in range(rounds + 1):
        y1, x1 = (int(random.integers(0, size - CROP + 1)) for size in (height, width))
        start, crop = time.process_time(), np.empty((CROP, CROP, 3), np.uint8)
        for (y, x), data in tiles.items():
            if y1 - TILE < y < y1 + CROP and x1 - TILE < x < x1 + CROP:
                tile = read(data, (min(TILE, height - y), min(TILE, width - x)))
                part = tile[max(y1 - y, 0):y1 + CROP - y, max(x1 - x, 0):x1 + CROP - x]
                top, left = max(y - y1, 0), max(x - x1, 0)
                crop[top:top + len(part), left:left + part.shape[1]] = part
        reading.append(time.process_time() - start)
        if not np.array_equal(crop, image[y1:y1 + CROP, x1:x1 + CROP]):
            raise AssertionError('this format is not lossless')
    return sum(map(len, tiles.values())), writing, median(reading[1:])


def _opencv(suffix: str, *options: int) -> Callable[[np.ndarray], bytes]:
    return lambda tile: cv2.imencode(suffix, tile, options)[1].tobytes()


def _bytes(size: tuple[int, int]) -> int:
    return size[0] * size[1] * 3


def _shaped(data: bytes, size: tuple[int, int]) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(*size, 3)


def _rows(tile: np.ndarray) -> bytes:
    """Differences from the row above."""
    return np.diff(tile, axis=0, prepend=np.zeros_like(tile[:1])).tobytes()


def _sum(data: bytes, size: tuple[int, int]) -> np.ndarray:
    return np.add.accumulate(_shaped(data, size).reshape(size[0], -1), axis=0, dtype=np.uint8).reshape(*size, 3)


def _qoi(package: object) -> Codec:
    return package.encode, lambda data, size: package.decode(data)


def _zstd(package: object) -> Codec:
    writer, reader = package.ZstdCompressor(level=3), package.ZstdDecompressor()
    return lambda tile: writer.compress(_rows(tile)), lambda data, size: _sum(reader.decompress(data), size)


def _lz4(package: object) -> Codec:
    return (lambda tile: package.compress(_rows(tile)), lambda data, size: _sum(package.decompress(data), size))
