"""An image in separately compressed tiles; a crop reads only the tiles that it overlaps.

A tile stores its rows as differences from the row above (summing whole rows is as fast as copying them), as a zlib
stream of Huffman codes without repetitions: photographs with noise have none, and searching them would take ten times
as long. docs/data.md compares this with other formats.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from ..datasets.image_files import INFLATE_ERRORS, inflate

TILE = 128  # side; smaller ones have more overhead, larger ones hold more that a crop does not need


def compress_tiles(image: np.ndarray) -> list[bytes]:
    """All tiles of an image (H, W, C) uint8, row by row of tiles."""
    height, width = image.shape[:2]
    return [_compress(image[y:y + TILE, x:x + TILE]) for y in range(0, height, TILE) for x in range(0, width, TILE)]


def _compress(tile: np.ndarray) -> bytes:
    rows = tile.reshape(len(tile), -1)
    differences = rows.copy()
    differences[1:] -= rows[:-1]  # modulo 256
    compressor = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY)
    return compressor.compress(differences.tobytes()) + compressor.flush()


def _decompress(data: bytes, height: int, width: int, channels: int) -> np.ndarray:
    differences = np.frombuffer(inflate(data, height * width * channels), np.uint8).reshape(height, -1)
    return np.add.accumulate(differences, axis=0, dtype=np.uint8).reshape(height, width, channels)


class TiledArray:
    """An image, (H, W, C) uint8, that reads pixels on access.

    A crop `image[y1:y2, x1:x2]` is an ordinary array; so is `np.asarray(image)`. Tiles are kept after reading, so
    that another crop of the same image reads only further ones.

    Args:
        shape: (H, W, C).
        lengths: bytes of each compressed tile, row by row of tiles.
        read: returns the bytes from a start to an end, both counted from the first tile's.
        damaged: creates the error for a tile that cannot be decompressed.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, shape: Sequence[int], lengths: Sequence[int], read: Callable[[int, int], bytes],
                 damaged: Callable[[str], Exception] = ValueError) -> None:
        self.shape = height, width, _ = tuple(shape)
        self._columns = -(-width // TILE)
        if len(lengths) != self._columns * -(-height // TILE):
            raise ValueError(f'{len(lengths)} tiles for an image of {width}x{height}')
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._read, self._damaged = read, damaged
        self._tiles: dict[int, np.ndarray] = {}

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        """A crop reads its tiles; any other key reads the whole image."""
        box = self._crop_box(key)
        return np.asarray(self)[key] if box is None else self._assemble(*box)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self._assemble(0, self.shape[0], 0, self.shape[1]).astype(dtype or self.dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __deepcopy__(self, memo: dict) -> 'TiledArray':
        return self  # immutable

    def _crop_box(self, key: tuple[slice, ...]) -> tuple[int, int, int, int] | None:
        """(y1, y2, x1, x2) of a key that is a crop, otherwise None."""
        if not isinstance(key, tuple) or len(key) not in (2, 3):
            return None
        rows, columns, *rest = key
        plain = all(isinstance(part, slice) and part.step in (None, 1) for part in (rows, columns))
        if not plain or rest not in ([], [Ellipsis], [slice(None)]):
            return None
        (y1, y2, _), (x1, x2, _) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        return y1, max(y1, y2), x1, max(x1, x2)

    def _assemble(self, y1: int, y2: int, x1: int, x2: int) -> np.ndarray:
        result = np.empty((y2 - y1, x2 - x1, self.shape[2]), np.uint8)
        for row in range(y1 // TILE, -(-y2 // TILE)):
            first, last = x1 // TILE, -(-x2 // TILE)
            self._load(row, first, last)
            for column in range(first, last):
                top, left = row * TILE, column * TILE
                tile = self._tiles[row * self._columns + column]
                part = tile[max(y1 - top, 0):y2 - top, max(x1 - left, 0):x2 - left]
                y, x = max(top - y1, 0), max(left - x1, 0)
                result[y:y + part.shape[0], x:x + part.shape[1]] = part
        return result

    def _load(self, row: int, first: int, last: int) -> None:
        """Read the missing tiles of a row at once."""
        indices = range(row * self._columns + first, row * self._columns + last)
        missing = [index for index in indices if index not in self._tiles]
        if not missing:
            return
        start = int(self._starts[missing[0]])
        data = memoryview(self._read(start, int(self._starts[missing[-1] + 1])))
        for index in missing:
            part = data[self._starts[index] - start:self._starts[index + 1] - start]
            column = index % self._columns
            height, width = min(TILE, self.shape[0] - row * TILE), min(TILE, self.shape[1] - column * TILE)
            try:
                self._tiles[index] = _decompress(part, height, width, self.shape[2])
            except (*INFLATE_ERRORS, ValueError) as error:
                raise self._damaged(f'a tile of its image is damaged ({error})') from error
