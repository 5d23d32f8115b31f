"""Cityscapes (Cordts et al., CVPR 2016)."""

from mmseg.registry import DATASETS

from .base import RawSegDataset


@DATASETS.register_module()
class RawCityscapesDataset(RawSegDataset):
    """Cityscapes as downloaded.

    Images are `leftImg8bit/train/<city>/*_leftImg8bit.png`, labels
    `gtFine/train/<city>/*_gtFine_labelIds.png`. The folders default to the training split; for
    validation give `data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')`, and
    for an unlabelled target set only `img_path`.

    Train-id files of `tools/dataset/convert_labels.py` (or of Cityscapes' own scripts):
    `ids='train', seg_map_suffix='_gtFine_labelTrainIds.png'`, or mmseg's `CityscapesDataset`.
    Arguments: see `RawSegDataset`.
    """

    PREFIX = dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train')
    IMG_SUFFIX = '_leftImg8bit.png'
    LABEL_SUFFIX = '_gtFine_labelIds.png'
    DOWNLOAD = 'Cityscapes (cityscapes-dataset.com; leftImg8bit and gtFine, both unpacked)'
