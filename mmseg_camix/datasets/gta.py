"""GTA ("Playing for Data", Richter et al., ECCV 2016)."""

from mmseg.registry import DATASETS

from .base import RawSegDataset


@DATASETS.register_module()
class GTADataset(RawSegDataset):
    """GTA as downloaded: `images/00001.png`, `labels/00001.png` (palette PNGs of raw Cityscapes
    ids).

    Train-id files of `tools/dataset/convert_labels.py`: `ids='train',
    seg_map_suffix='_labelTrainIds.png'`.
    Arguments: see `RawSegDataset`.
    """

    PREFIX = dict(img_path='images', seg_map_path='labels')
    DOWNLOAD = 'GTA (download.visinf.tu-darmstadt.de/data/from_games; it holds images/ and labels/)'
