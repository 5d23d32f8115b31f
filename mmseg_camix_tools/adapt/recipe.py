"""DAFormer's recipe for any network and data set: rare-class sampling, and the distance to ImageNet's features."""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmseg_camix.datasets.class_counts import pixels_of_image
from mmseg_camix.datasets.rare_class import rare_class_probabilities
from mmseg_camix.models.feature_losses import THINGS
from mmseg_camix.weights.initialiser import PACKAGE
from mmseg_camix_tools.export.metainfo import mapping

from .draft import Draft

METHODS = ('DAFormer', 'iDAFormer')
# What they need for images of any kind: no rows without labels, and a teacher for short trainings.
MODEL_CHANGES = dict(pseudo_labels=dict(ignore_top=0, ignore_bottom=0), teacher=dict(alpha=0.99))
MIN_PIXELS = 3000 / (1280 * 720)  # of a class, as a share of the image; DAFormer's for GTA
CROP_SHARE = 0.5  # of these pixels that must be in a crop
TEMPERATURE = 0.01  # DAFormer's; doubled until the images that are drawn are as good as EFFECTIVE of all
EFFECTIVE = 0.25
OTHER_THINGS = ('pedestrian', 'bicyclist', 'cyclist', 'sign', 'vehicle')  # as other data sets name them
WIDE = 512  # rows from which features are compared at the last stride, as DAFormer does


def feature_distance(draft: Draft) -> dict[str, Any] | None:
    """The config of the feature distance; None where its weights are not installed, or no class is a thing."""
    backbone = copy.deepcopy(draft.segmentor['backbone'])
    weights = mapping(backbone.get('init_cfg')).get('checkpoint') or ''
    things = [name for name in draft.classes if name in (*THINGS, *OTHER_THINGS)]
    if not weights.startswith(PACKAGE) or not things or draft.segmentor.get('neck'):
        return None
    last = draft.short_side >= WIDE or len(backbone.get('out_indices', (0, 1))) == 1
    return dict(type='FeatureDistance', encoder=backbone, things=things, index=-1 if last else -2)


def samples_rare_classes(draft: Draft, method: str) -> bool:
    """Whether the source is sampled by class: a plain data set, not one of the user's wrappers."""
    return method in METHODS and draft.source is not None and 'pipeline' in draft.source


def count_classes(dataset: Dataset, threads: int) -> tuple[np.ndarray, int]:
    """(N, C) pixels of each class in each image, and the number of labels that cannot be read, which have zeros."""
    def pixels(index: int) -> np.ndarray | None:
        try:
            return pixels_of_image(dataset, index)
        except Exception:  # readers of other projects raise anything; the training replaces such images, too
            return None

    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(pixels, range(len(dataset))))
    empty = np.zeros(len(dataset.metainfo['classes']), np.int64)
    return np.stack([empty if row is None else row for row in rows]), sum(row is None for row in rows)


def sampled_by_class(dataset: dict[str, Any], counts: Path, size: Sequence[int]) -> dict[str, Any]:
    """The data set with rare-class sampling; DAFormer's numbers of pixels, for images of another size.

    Args:
        dataset: config of the labelled data set.
        counts: file of its pixels by image and class.
        size: (height, width) of its resized images.
    """
    table = np.load(counts)
    pixels = float(np.median(table.sum(1)))  # of a label before any resizing
    least = int(MIN_PIXELS * pixels)
    return dict(type='RareClassDataset', stats=str(counts), temperature=temperature_for(table, least),
                min_pixels=least,
                crop_share=round(CROP_SHARE * size[0] * size[1] / max(pixels, 1), 3), dataset=dataset)


def temperature_for(table: np.ndarray, least: int) -> float:
    """The temperature of rare-class sampling, with which enough different images are drawn.

    With few classes DAFormer's draws only the rarest, so that images without it would hardly ever be used.

    Args:
        table: (N, C) pixels of each class in each image.
        least: pixels from which an image counts as one of a class.
    """
    has = table > least
    occurring = has.any(0)
    if not occurring.any():
        return TEMPERATURE  # RareClassDataset says what is wrong
    drawn = has[:, occurring] / has[:, occurring].sum(0)  # of each class, a distribution over the images
    temperature = TEMPERATURE
    while temperature < 1:
        chances = rare_class_probabilities(table.sum(0), temperature)[occurring]
        images = drawn @ (chances / chances.sum())
        entropy = -(images * np.log(np.maximum(images, 1e-300))).sum()
        if np.exp(entropy) >= EFFECTIVE * has.any(1).sum():
            break
        temperature *= 2
    return temperature
