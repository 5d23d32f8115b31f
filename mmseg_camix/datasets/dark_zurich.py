"""Dark Zurich (Sakaridis et al., ICCV 2019): a city by night."""

from mmseg.registry import DATASETS

from .base import RawSegDataset


@DATASETS.register_module()
class RawDarkZurichDataset(RawSegDataset):
    """Dark Zurich as downloaded, its zip files unpacked into one folder.

    Training images are `rgb_anon/train/night/GOPR0351/*_rgb_anon.png` (also `day` and `twilight`), which
    have no labels. For validation give `data_prefix=dict(img_path='rgb_anon/val/night',
    seg_map_path='gt/val/night')`.
    Arguments: see `RawSegDataset`.
    """

    PREFIX = dict(img_path='rgb_anon/train/night')
    IMG_SUFFIX = '_rgb_anon.png'
    LABEL_SUFFIX = '_gt_labelIds.png'
    DOWNLOAD = 'Dark Zurich (trace.ethz.ch/publications/2019/GCMA_UIoU; train and val, unpacked into one folder)'
