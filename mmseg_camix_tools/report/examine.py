"""Networks on target images: label maps, uncertainty, class frequencies, confusion matrices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.ops.entropy import predictive_entropy
from mmseg_camix.visualization.sheets import resize

from ..export.files import open_network
from ..export.metainfo import mapping
from ..inference.inputs import find_items
from ..inference.predictor import Predictor
from .recorded import check_dataset, check_sizes, local_files, without_cache
from .training import ReportError

WIDTH = 800  # pixels of the pictures in the report
IGNORE = 255


@dataclass(frozen=True)
class Network:
    """A checkpoint and its name in the report."""

    title: str
    file: Path


@dataclass
class View:
    """A target image as all networks label it; pictures and maps are WIDTH pixels wide."""

    name: str
    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""
    truth: np.ndarray | None
    """(H, W) train ids, where the image has labels."""
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    """Network -> (H, W) train ids."""
    entropy: np.ndarray | None = None
    """(h, w) of the last network, as a share of its maximum ln C."""
    changed: float = 0.0
    """Share of pixels with different classes in the first and the last network."""

    @property
    def uncertainty(self) -> float:
        """Mean of the entropy."""
        return 0.0 if self.entropy is None else float(self.entropy.mean())


@dataclass
class Examination:
    """Networks on the same target images."""

    classes: tuple[str, ...]
    palette: list[list[int]]
    views: list[View]
    pixels: dict[str, np.ndarray]
    """Network -> (C,) predicted pixels per class."""
    confusion: dict[str, np.ndarray]
    """Network -> (C, C) labelled pixels: true class, predicted class; all 0 without labels."""

    @property
    def labelled(self) -> int:
        """Number of images with labels."""
        return sum(view.truth is not None for view in self.views)

    def iou(self, title: str) -> np.ndarray:
        """(C,) IoU in percent of a network on the labelled images; NaN of a class that does not occur."""
        matrix = self.confusion[title].astype(float)
        with np.errstate(invalid='ignore'):
            return 100 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())


class TargetImages:
    """Evenly spread images of a folder, or of a config's validation set, or else of its target training set.

    Args:
        config: of the training.
        folder: files or a folder to use instead.
        count: maximum number of images.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path | None, count: int) -> None:
        self._dataset, self._labelled = None, False
        if folder is not None:
            files = [str(item.path) for item in find_items([str(folder)]) if not item.is_video]
        else:
            self._dataset, self._labelled = _dataset(config)
            files = local_files([self._dataset.get_data_info(index) for index in range(len(self._dataset))])
        if not files:
            raise ReportError(f'{folder or "the target data set"}: no image there')
        self.total = len(files)
        self._chosen = [(index, files[index]) for index in spread_indices(len(files), count)]

    def __iter__(self) -> Iterator[tuple[str, dict | None]]:
        """Path of each image, and the sample of the validation set where there is one."""
        for index, path in self._chosen:
            if self._labelled:
                check_sizes(self._dataset.get_data_info(index))
            yield path, self._dataset[index] if self._labelled else None


def _dataset(config: Mapping[str, Any]) -> tuple[Any, bool]:
    """The target's data set, and whether its pipeline makes samples for testing."""
    for loader, branch in (('val_dataloader', None), ('test_dataloader', None), ('train_dataloader', 'target')):
        given = mapping(mapping(config.get(loader)).get('dataset'))
        given = _listing(mapping(given.get(branch))) if branch else given
        if given:
            given = without_cache(given)
            check_dataset(given, f'{loader}.dataset')
            try:
                with DefaultScope.overwrite_default_scope('mmseg'):
                    return DATASETS.build(dict(given)), branch is None
            except (ArithmeticError, AttributeError, IndexError, RecursionError) as error:  # as for no data set to join
                raise ReportError(f'{loader}.dataset of the recorded config cannot be built ({type(error).__name__}: '
                                  f'{error})') from error
    raise ReportError('the recorded config has no target data set; give the target images with --target')


def _listing(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """A data set without its wrappers and its pipeline, which only lists files; an empty one stays so."""
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return {**dataset, 'pipeline': []} if dataset else dataset


def examine(networks: Sequence[Network], images: TargetImages, device: torch.device) -> Examination:
    """Label the images with each network; the first is the one before adaptation, the last the one after it."""
    examination: Examination | None = None
    views: list[View] = []
    for network in networks:
        opened = open_network(network.file, choice='tested')
        if len(opened.classes) > IGNORE:
            raise ReportError(f'{network.file} has {len(opened.classes)} classes; a report shows up to {IGNORE}')
        if examination is None:
            examination = Examination(opened.classes, opened.palette, views, {}, {})
        elif len(opened.classes) != len(examination.classes):
            raise ReportError(f'{network.file} has {len(opened.classes)} classes, the others have '
                              f'{len(examination.classes)}: they cannot be compared')
        predictor = Predictor(opened.build().to(device), opened.pipeline)
        _label(network.title, predictor, images, examination)
    assert examination is not None
    first, last = networks[0].title, networks[-1].title
    for view in views:
        view.changed = float((view.labels[first] != view.labels[last]).mean())
    return examination


def _label(title: str, predictor: Predictor, images: TargetImages, examination: Examination) -> None:
    size = len(examination.classes)
    pixels, matrix = np.zeros(size, np.int64), np.zeros((size, size), np.int64)
    for index, (path, sample) in enumerate(images):
        image = predictor.read(path)
        logits, packed = predictor.scores([sample or predictor.prepare(image, path)])[0]
        label = predictor.decide(logits, packed)
        truth = packed.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in packed else None
        pixels += np.bincount(label.ravel(), minlength=size)[:size]
        if truth is not None and truth.shape == label.shape:
            matrix += confusion(truth, label, size)
        if index == len(examination.views):
            examination.views.append(View(Path(path).name, _picture(image), None if truth is None else _map(truth)))
        view = examination.views[index]
        view.labels[title], view.entropy = _map(label), _entropy(logits)
    examination.pixels[title], examination.confusion[title] = pixels, matrix


def confusion(truth: np.ndarray, label: np.ndarray, size: int) -> np.ndarray:
    """(C, C) pixels of each true and predicted class; ignored pixels are not counted."""
    valid = truth < size
    joint = truth[valid].astype(np.int64) * size + label[valid]
    return np.bincount(joint, minlength=size * size)[:size * size].reshape(size, size)


def _picture(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(resize(np.clip(image, 0, 255).astype(np.uint8), WIDTH)[..., ::-1])


def _map(label: np.ndarray) -> np.ndarray:
    return resize(np.minimum(label, IGNORE).astype(np.uint8), WIDTH, smooth=False)


def _entropy(logits: torch.Tensor) -> np.ndarray:
    """(h, w) entropy as a share of ln C, of logits (C, h, w); a single logit is that of class 1 of two."""
    if len(logits) == 1:
        logits = torch.cat([torch.zeros_like(logits), logits])
    share = predictive_entropy(logits.float().softmax(0)[None])[0] / np.log(len(logits))
    height = round(WIDTH / 2 * share.shape[0] / share.shape[1])
    return cv2.resize(share.cpu().numpy(), (WIDTH // 2, height), interpolation=cv2.INTER_AREA)
