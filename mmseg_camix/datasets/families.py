"""Readers of public data sets in the layout of their downloads. Options: see `RawSegDataset`.

Train-id files of `mmseg-camix convert-labels` are read with `ids='train'` and the `seg_map_suffix` of
`TRAIN_ID_SUFFIX`.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.registry import DATASETS

from .base import RawSegDataset
from .encodings import CLASSES, PALETTE, SYNTHIA_16

CONDITIONS = ('fog', 'night', 'rain', 'snow')
SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class GTADataset(RawSegDataset):
    """GTA ("Playing for Data", Richter et al., ECCV 2016).

    `images/00001.png`, `labels/00001.png` (palette PNGs of raw Cityscapes ids).
    """

    PREFIX = dict(img_path='images', seg_map_path='labels')
    TRAIN_ID_SUFFIX = '_labelTrainIds.png'
    DOWNLOAD = 'GTA (download.visinf.tu-darmstadt.de/data/from_games; it holds images/ and labels/)'


@DATASETS.register_module()
class SYNTHIADataset(RawSegDataset):
    """SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016).

    Images are `RGB/0000000.png`, labels the first channel of the 16-bit `GT/LABELS/0000000.png`. The network keeps
    the 19 classes of Cityscapes; `metainfo['present_classes']` names the 16 of this set.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE, present_classes=SYNTHIA_16)
    PREFIX = dict(img_path='RGB', seg_map_path='GT/LABELS')
    IDS = 'synthia'
    TRAIN_ID_SUFFIX = '_labelTrainIds.png'
    DOWNLOAD = 'SYNTHIA-RAND-CITYSCAPES (synthia-dataset.net; it holds RGB/ and GT/LABELS/)'


@DATASETS.register_module()
class RawCityscapesDataset(RawSegDataset):
    """Cityscapes (Cordts et al., CVPR 2016), the training split by default.

    Images are `leftImg8bit/train/<city>/*_leftImg8bit.png`, labels `gtFine/train/<city>/*_gtFine_labelIds.png`. For
    validation give `data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')`, for an unlabelled
    target set only `img_path`. mmseg's `CityscapesDataset` reads the train-id files.
    """

    PREFIX = dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train')
    IMG_SUFFIX = '_leftImg8bit.png'
    LABEL_SUFFIX = '_gtFine_labelIds.png'
    TRAIN_ID_SUFFIX = '_gtFine_labelTrainIds.png'
    DOWNLOAD = 'Cityscapes (cityscapes-dataset.com; leftImg8bit and gtFine, both unpacked)'


@DATASETS.register_module()
class RawDarkZurichDataset(RawSegDataset):
    """Dark Zurich (Sakaridis et al., ICCV 2019): a city by night; its zip files unpacked into one folder.

    Training images are `rgb_anon/train/night/GOPR0351/*_rgb_anon.png` (also `day` and `twilight`), without labels.
    For validation give `data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night')`.
    """

    PREFIX = dict(img_path='rgb_anon/train/night')
    IMG_SUFFIX = '_rgb_anon.png'
    LABEL_SUFFIX = '_gt_labelIds.png'
    TRAIN_ID_SUFFIX = '_gt_labelTrainIds.png'
    DOWNLOAD = 'Dark Zurich (trace.ethz.ch/publications/2019/GCMA_UIoU; train and val, unpacked into one folder)'


class PartDataset(RawSegDataset):
    """Base of sets with several conditions, whose file names contain condition and split.

    Args:
        data_root: folder of the download.
        split: 'train', 'val' or 'test', where the set has them.
        conditions: one or several of `CONDITIONS`; None takes all.
        labels: whether to read them; off for a target training set.
        options: as of `RawSegDataset`.
    """

    CONDITIONS: tuple[str, ...] = ()
    SPLITS: tuple[str, ...] = ()

    def __init__(self, data_root: str = '', split: str = 'train', conditions: str | Sequence[str] | None = None,
                 labels: bool = True, data_prefix: dict[str, str] | None = None, **options: Any) -> None:
        given = self.CONDITIONS if conditions is None else conditions
        self.split, self.conditions = split, (given,) if isinstance(given, str) else tuple(given)
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not one of {", ".join(self.SPLITS)}')
        if not self.conditions or set(self.conditions) - set(self.CONDITIONS):
            raise ValueError(f'conditions={conditions!r} must be some of {", ".join(self.CONDITIONS)}')
        prefix = dict(data_prefix or self.PREFIX)
        if not labels:
            prefix.pop('seg_map_path', None)
        super().__init__(data_root=data_root, data_prefix=prefix, **options)

    def part_of(self, name: str) -> tuple[str, str]:
        """Condition and split of an image by its name."""
        raise NotImplementedError

    def _unlabelled_hint(self, key: str) -> str:
        return '. For an unlabelled target set, give labels=False' if key == 'seg_map_path' else ''

    def is_included(self, name: str) -> bool:
        """Whether an image is of these conditions and this split."""
        condition, split = self.part_of(name)
        return condition in self.conditions and split == self.split

    def load_data_list(self) -> list[dict]:
        """List images and labels; refuse a set without images."""
        samples = super().load_data_list()
        if not samples:
            raise FileNotFoundError(f'{self.data_prefix["img_path"]}: no image of {", ".join(self.conditions)} in the '
                                    f'split {self.split!r}. {self._folder_hint()}')
        return samples


@DATASETS.register_module()
class ACDCDataset(PartDataset):
    """ACDC (Sakaridis et al., ICCV 2021): fog, night, rain and snow.

    `rgb_anon/fog/train/GOPR0475/*_rgb_anon.png`, `gt/...` alike. The images of the same places in good weather
    (`train_ref`, ...) are left out. The labels of 'test' are not public.
    """

    CONDITIONS, SPLITS = CONDITIONS, SPLITS
    PREFIX = dict(img_path='rgb_anon', seg_map_path='gt')
    IMG_SUFFIX = '_rgb_anon.png'
    LABEL_SUFFIX = '_gt_labelIds.png'
    TRAIN_ID_SUFFIX = '_gt_labelTrainIds.png'
    DOWNLOAD = 'ACDC (acdc.vision.ee.ethz.ch; rgb_anon and gt, both unpacked)'

    def part_of(self, name: str) -> tuple[str, str]:
        condition, split, *_ = *name.split('/'), ''
        return condition, split
