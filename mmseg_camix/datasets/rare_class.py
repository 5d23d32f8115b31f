"""Rare-class sampling (DAFormer, Eqs 6 and 7): images of rare classes come up more often."""

import logging

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .class_counts import class_counts
from .fixed_part import repeat_sample


@DATASETS.register_module()
class RareClassDataset(Dataset):
    """Draws a class, then an image that has it, then crops until the class is in the crop.

    P(c) = exp((1 - f_c) / T) / sum exp((1 - f_c') / T), with f_c the share of all pixels that have
    class c. The index does not choose the image: everything is drawn from NumPy's global generator, which
    `PairedDataset` seeds from the position.

    Deviations:
        Released code: fails where no image has enough pixels of a class.
        Ours: such a class is not drawn, and a warning names it.

    Args:
        dataset: config of a labelled mmseg dataset, or the dataset; its pipeline crops at random.
        stats: JSON of `mmseg-camix stats`, or a .npy file of (images, classes). Without it all labels are read when
            the dataset is built, which is slow for the full GTA.
        temperature: T; the smaller, the more rare classes are preferred.
        min_pixels: an image has a class if it has more pixels of it than this (before any resizing).
        crop_share: a crop is taken if it has more than this share of `min_pixels`.
        tries: number of further crops before the last one is taken as it is.
    """

    def __init__(self, dataset: dict | Dataset, stats: str = '', temperature: float = 0.01,
                 min_pixels: int = 3000, crop_share: float = 0.5, tries: int = 10) -> None:
        if temperature <= 0:
            raise ValueError(f'RareClassDataset: temperature={temperature} must be above 0')
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        self.needed, self.tries = min_pixels * crop_share, tries
        counts = class_counts(self.dataset, stats)
        images = {c: np.flatnonzero(counts[:, c] > min_pixels) for c in range(counts.shape[1])}
        self.images = {c: indices for c, indices in images.items() if len(indices)}
        if not self.images:
            raise ValueError(f'RareClassDataset: no image has more than min_pixels={min_pixels} pixels of any class; '
                             'choose fewer, for images smaller than those of the papers')
        self.probabilities = rare_class_probabilities(counts.sum(0), temperature)
        self._warn_of_omitted_classes(min_pixels)
        self._classes = np.array(sorted(self.images))
        drawn = self.probabilities[self._classes]
        if not drawn.any():
            raise ValueError(f'RareClassDataset: temperature={temperature} leaves only classes of which no image has '
                             f'more than min_pixels={min_pixels} pixels; choose a higher temperature, or fewer pixels')
        self._chances = drawn / drawn.sum()

    @property
    def metainfo(self) -> dict:
        """Of the wrapped dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def get_data_info(self, index: int) -> dict:
        """Of the wrapped dataset."""
        return self.dataset.get_data_info(index)

    def __getitem__(self, index: int) -> dict:
        # RandomState's functions, whose streams are frozen.
        wanted = int(np.random.choice(self._classes, p=self._chances))  # noqa: NPY002
        image = int(np.random.choice(self.images[wanted]))  # noqa: NPY002
        samples = repeat_sample(self.dataset, image)
        sample = next(samples)
        for _ in range(self.tries):
            if int((sample['data_samples'].gt_sem_seg.data == wanted).sum()) > self.needed:
                break
            sample = next(samples)
        sample['data_samples'].set_metainfo(dict(rare_class=self.metainfo['classes'][wanted]))
        return sample

    def _warn_of_omitted_classes(self, min_pixels: int) -> None:
        names = [name for c, name in enumerate(self.metainfo['classes'])
                 if self.probabilities[c] > 0 and c not in self.images]
        if names:
            print_log(f'rare-class sampling: no image has more than {min_pixels} pixels of {", ".join(names)}; '
                      'they are not drawn', 'current', logging.WARNING)


def rare_class_probabilities(pixels: np.ndarray, temperature: float) -> np.ndarray:
    """P(c), (C,) float64, from the pixels of each class; classes that never occur get probability 0."""
    pixels = np.asarray(pixels, np.float64)
    rarity = (1 - pixels / pixels.sum()) / temperature
    weights = np.where(pixels > 0, np.exp(np.minimum(rarity - rarity[pixels > 0].max(), 0)), 0.0)
    return weights / weights.sum()
