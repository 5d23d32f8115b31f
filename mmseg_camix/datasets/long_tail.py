"""Long-tail class first sampling (DSP, Eq. 1 and Algorithm 1): pixels of rare classes, on demand."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from .class_counts import class_counts
from .joined import plain_sample, plain_sets


@DATASETS.register_module()
class LongTailDataset(Dataset):
    """Each item is one patch: the pixels of k long-tail classes, each taken from an image that has it.

    k of the K long-tail classes are drawn, and for each of them one of the images that contain it; its pixels of all
    k classes go into the patch, later images over earlier ones. An item has the form of any labelled sample: `inputs`
    holds the pixels, and the label is void outside the patch. Batches have the same shape for any k.

    The index does not choose the image: everything is drawn from NumPy's global generator, which `PairedDataset`
    seeds. The metainfo of an item names `rare_classes` and `rare_images`.

    Deviations:
        Paper: does not describe the crop. Released code: whole images, resized and cropped at random.
        Ours: the wrapped dataset's pipeline; with `CropWithClass` the crop contains the class.

    Args:
        dataset: config of a labelled mmseg dataset, or the dataset. `CropWithClass` in its pipeline
            finds the class.
        classes: names of the long-tail classes, or K for the K least frequent (Eq. 1 counts the
            images that contain a class). GTA: 5, SYNTHIA: 4 in the paper.
        k: how many of them make up a patch; 0 gives empty patches.
        stats: JSON of `mmseg-camix stats`. Without it all labels are read when the dataset is built, which
            is slow for the full GTA.
        min_pixels: pixels of a class that an image must have, before any resizing.
    """

    def __init__(self, dataset: dict | Dataset, classes: int | Sequence[str] = 5, k: int = 2, stats: str = '',
                 min_pixels: int = 1) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        has_class = class_counts(self.dataset, stats) >= max(min_pixels, 1)
        self.frequency = has_class.mean(0)
        self.tail = long_tail(self.frequency, classes, self.metainfo['classes'])
        if not 0 <= k <= len(self.tail):
            raise ValueError(f'LongTailDataset: k={k} must be between 0 and the number of long-tail classes, '
                             f'{len(self.tail)} ({", ".join(self._names(self.tail))})')
        self.k = k
        self._void_label = plain_sets(self.dataset)[0].ignore_index
        self._images = {train_id: np.flatnonzero(has_class[:, train_id]) for train_id in self.tail}
        self._length = int(has_class[:, self.tail].any(1).sum())

    @property
    def metainfo(self) -> dict:
        """Of the dataset that the patches come from."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        """Number of images that contain a long-tail class (the paper's set D)."""
        return self._length

    def __getitem__(self, index: int) -> dict:
        # RandomState's functions, whose streams are frozen.
        chosen = np.random.choice(self.tail, self.k, replace=False).tolist()  # noqa: NPY002
        images = [int(np.random.choice(self._images[c])) for c in chosen]  # noqa: NPY002
        if not chosen:
            first = self._images[self.tail[0]]
            return _void(self._load(int(first[index % len(first)]), self.tail[0]), self._void_label)
        items = [self._load(image, train_id) for image, train_id in zip(images, chosen)]
        patch = compose(items, chosen, self._void_label)
        patch['data_samples'].set_metainfo(dict(
            rare_classes=self._names(chosen), rare_images=[item['data_samples'].img_path for item in items]))
        return patch

    def _load(self, image: int, wanted: int) -> dict:
        dataset, index = plain_sample(self.dataset, image)
        return dataset.pipeline(dict(dataset.get_data_info(index), wanted_class=wanted))

    def _names(self, train_ids: Sequence[int]) -> list[str]:
        return [self.metainfo['classes'][train_id] for train_id in train_ids]


def long_tail(frequency: np.ndarray, classes: int | Sequence[str], names: Sequence[str]) -> list[int]:
    """Train ids of the long-tail classes, a number or names of them, least frequent first.

    `frequency`, (C,), is the share of the images that contain each class; `names` are those of all classes.
    """
    order = [int(c) for c in np.argsort(frequency, kind='stable') if frequency[c] > 0]
    present = [names[c] for c in order]
    if isinstance(classes, int):
        if not 1 <= classes <= len(order):
            raise ValueError(f'LongTailDataset: classes={classes} must be between 1 and the number of classes that '
                             f'occur, {len(order)}')
        return order[:classes]
    if wrong := [name for name in classes if name not in present]:
        raise ValueError(f'LongTailDataset: no image contains {wrong}; classes that occur, rarest first: '
                         f'{", ".join(present)}')
    return [c for c in order if names[c] in classes]


def compose(items: Sequence[dict], chosen: Sequence[int], ignore_index: int) -> dict:
    """One sample with the pixels of the chosen train ids of all items, packed samples of one size; void elsewhere."""
    result = _void(items[0], ignore_index)
    pixels, label = result['inputs'], result['data_samples'].gt_sem_seg.data
    for item in items:
        if item['inputs'].shape != pixels.shape:
            raise ValueError(f'{item["data_samples"].img_path}: crops differ in size, {tuple(pixels.shape[1:])} and '
                             f'{tuple(item["inputs"].shape[1:])}; resize so that every image is at least as large as '
                             'the crop')
        label_ids = item['data_samples'].gt_sem_seg.data
        region = torch.isin(label_ids, torch.tensor(chosen, dtype=label_ids.dtype))
        pixels.copy_(torch.where(region, item['inputs'], pixels))
        label.copy_(torch.where(region, label_ids, label))
    return result


def _void(item: dict, ignore_index: int) -> dict:
    """A copy whose label is void everywhere."""
    given: SegDataSample = item['data_samples']
    label = torch.full_like(given.gt_sem_seg.data, ignore_index)
    sample = SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=given.metainfo)
    return dict(inputs=item['inputs'].clone(), data_samples=sample)
