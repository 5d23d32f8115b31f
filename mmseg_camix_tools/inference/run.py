"""Label many images and videos and write the results; files that cannot be read are counted."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmseg_camix.files import atomic_write, printable, remove_leftovers

from .inputs import InputsError, Item
from .pictures import Draw, png
from .predictor import Predictor
from .videos import SUFFIX, VideoReader, VideoWriter

IMAGE_SUFFIX = '.png'


class Run:
    """One call of ``mmseg-camix predict``.

    Args:
        predictor: labels images.
        draw: returns the output for an image and its label map.
        out: folder of the results: PNG files under the items' names, videos as '.mp4'.
        batch_size: number of images of one size per forward pass.
        frames: write the frames of videos as PNG files in a folder.
        skip_existing: keep existing results.
    """

    def __init__(self, predictor: Predictor, draw: Draw, out: Path, batch_size: int = 1, frames: bool = False,
                 skip_existing: bool = False) -> None:
        self.predictor, self.draw, self.out = predictor, draw, out
        self.batch_size, self.frames, self.skip_existing = batch_size, frames, skip_existing
        self.failed: list[str] = []
        self.done = self.skipped = 0
        self._folders: set[Path] = set()
        self._bar = tqdm(disable=True)

    def __call__(self, items: list[Item]) -> None:
        """Label all items, with a progress bar."""
        images = [item for item in items if not item.is_video]
        with tqdm(total=len(images), unit='image') as self._bar:
            for target, image, label in self.labelled(self._images(images)):
                self._write(target, self.draw(image, label))
            for item in items:
                if item.is_video:
                    self._video(item)

    def labelled(self, images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """(key, image) to (key, image, label map), in batches of one size."""
        prepared = ((key, image, self.predictor.prepare(image, str(key))) for key, image in images)
        for _, same_size in groupby(prepared, lambda entry: entry[2]['inputs'].shape):
            while batch := list(islice(same_size, self.batch_size)):
                labels = self.predictor.label([inputs for _, _, inputs in batch])
                for (key, image, _), label in zip(batch, labels):
                    yield key, image, label
                    self.done += 1
                    self._bar.update()

    def _images(self, items: list[Item]) -> Iterator[tuple[Path, np.ndarray]]:
        for item in items:
            target = self._target(item)
            if self._is_there(target):
                continue
            try:
                image = self.predictor.read(str(item.path))
            except OSError as error:
                self._fail(error)
                self._bar.update()
                continue
            yield target, image

    def _video(self, item: Item) -> None:
        target = self._target(item)
        if not self.frames and self._is_there(target):
            return
        try:
            reader = VideoReader(item.path)
        except OSError as error:
            self._fail(error)
            return
        self._bar.total += reader.announced
        if self.frames:
            for path, image, label in self.labelled(self._frames(reader, target)):
                self._write(path, self.draw(image, label))
        else:
            with VideoWriter(target, reader.rate) as writer:
                for _, image, label in self.labelled((item.path, frame) for frame in reader):
                    writer.write(self.draw(image, label))
        if reader.broke_off:
            self._fail(f'{item.path}: the video broke off after {reader.count} of {reader.announced} frames')

    def _frames(self, reader: VideoReader, folder: Path) -> Iterator[tuple[Path, np.ndarray]]:
        for number, frame in enumerate(reader):
            path = folder / f'{number:06}{IMAGE_SUFFIX}'
            if not self._is_there(path):
                yield path, frame

    def _target(self, item: Item) -> Path:
        suffix = IMAGE_SUFFIX if not item.is_video else '' if self.frames else SUFFIX
        return self.out / item.name.with_name(item.name.name + suffix)

    def _is_there(self, target: Path) -> bool:
        there = self.skip_existing and target.is_file()
        if there:
            self.skipped += 1
            self._bar.update()
        return there

    def _write(self, target: Path, picture: np.ndarray) -> None:
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target.parent)
            self._folders.add(target.parent)
        atomic_write(target, png(picture), clean=False)

    def _fail(self, reason: object) -> None:
        self.failed.append(str(reason))
        self._bar.write(f'warning: {printable(reason)}', file=sys.stderr)

    def check(self, items: list[Item], overwrite: bool = False) -> None:
        """Raise InputsError where a result would replace its input or, without `overwrite`, an existing file."""
        if self.out.exists() and not self.out.is_dir():
            raise InputsError(f'--out {self.out} is a file; give a folder')
        for item in items:
            target = self._target(item)
            if target.resolve() == item.path.resolve():
                raise InputsError(f'the result of {item.path} would replace it; choose another --out')
            if target.exists() and not (overwrite or self.skip_existing):
                raise InputsError(f'{target} exists; --overwrite replaces results, --skip-existing keeps them')
