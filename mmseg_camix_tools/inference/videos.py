"""Videos in and out, through OpenCV."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

SUFFIX = '.mp4'
_DEFAULT_RATE = 25.0


class VideoReader:
    """Frames of a video file, (H, W, 3) BGR; an OSError where it cannot be opened or has no frame."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Absolute: FFmpeg takes a name such as `http:host.mp4` as an address.
        self._capture = cv2.VideoCapture(str(path.absolute()))
        opened, self._first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            raise OSError(f'{path}: the video is damaged or of an unknown format')
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else _DEFAULT_RATE
        # As the file states; 0 where it does not.
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.count = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        remains, frame = True, self._first
        while remains:
            self.count += 1
            yield frame
            remains, frame = self._capture.read()
        self._capture.release()

    @property
    def broke_off(self) -> bool:
        """Whether fewer frames came than announced (by one is rounding: some formats store a duration)."""
        return self.count < self.announced - 1


class VideoWriter:
    """An MPEG-4 video, written whole or not at all, to a `path` that ends in '.mp4'; `rate`: frames per second."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._partial = path.with_name(f'.{path.stem}.{os.getpid()}.partial{path.suffix}')
        self._writer: cv2.VideoWriter | None = None
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        """(H, W, 3) uint8 BGR; all of one size. An odd last row or column is lost: the format has none."""
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            size = frame.shape[1], frame.shape[0]
            self._writer = cv2.VideoWriter(str(self._partial.absolute()), cv2.VideoWriter_fourcc(*'mp4v'), self.rate,
                                           size)
            if not self._writer.isOpened():
                raise RuntimeError(f'this OpenCV cannot write {self.path}; write frames instead, with --frames')
        self._writer.write(np.ascontiguousarray(frame))
        self._count += 1

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        try:
            if kind is None:
                self._check_frames()
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check_frames(self) -> None:
        """Raise OSError unless all frames are in the file: OpenCV does not report a full disk."""
        capture, count = cv2.VideoCapture(str(self._partial.absolute())), 0
        while capture.grab():
            count += 1
        capture.release()
        if count != self._count:
            raise OSError(f'{self.path}: only {count} of {self._count} frames could be written; is the disk full?')
