"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016)."""

from mmseg.registry import DATASETS

from .base import RawSegDataset
from .encodings import CLASSES, PALETTE, SYNTHIA_16


@DATASETS.register_module()
class SYNTHIADataset(RawSegDataset):
    """SYNTHIA-RAND-CITYSCAPES as downloaded.

    Images are `RGB/0000000.png`, labels the first channel of the 16-bit `GT/LABELS/0000000.png`.

    The network keeps the 19 classes of Cityscapes; `metainfo['present_classes']` names the 16 that
    this set has. Train-id files of `tools/dataset/convert_labels.py`: `ids='train',
    seg_map_suffix='_labelTrainIds.png'`.
    Arguments: see `RawSegDataset`.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE, present_classes=SYNTHIA_16)
    PREFIX = dict(img_path='RGB', seg_map_path='GT/LABELS')
    IDS = 'synthia'
    DOWNLOAD = 'SYNTHIA-RAND-CITYSCAPES (synthia-dataset.net; it holds RGB/ and GT/LABELS/)'
