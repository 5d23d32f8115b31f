"""Load images and labels; what is wrong with a file is said with its name and the remedy."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..encodings import IGNORE, get_encoding
from ..label_files import AGAIN, read_bytes, read_train_ids
from ..png import decode


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load an image as BGR like mmcv's `LoadImageFromFile`, but refuse truncated files.

    Required keys: img_path. Added keys: img ((H, W, 3) uint8 or float32), img_shape, ori_shape.

    Args:
        to_float32: convert to float32 at once.
        backend_args: options of mmengine's file backend.
    """

    def __init__(self, to_float32: bool = False, backend_args: dict | None = None) -> None:
        self.to_float32 = to_float32
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        data = read_bytes(path, self.backend_args)
        img = decode(data)
        if img is None:
            raise OSError(f'{path}: the image is damaged or of an unknown format; {AGAIN}')
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(to_float32={self.to_float32}, backend_args={self.backend_args})'


@TRANSFORMS.register_module()
class LoadIdLabels(BaseTransform):
    """Load a label PNG of any family as train ids.

    Stands for mmseg's `LoadAnnotations`, which knows neither palette ids of GTA nor the 16 bits of
    SYNTHIA.

    Required keys: seg_map_path; `label_ids` unless `ids` is given; `label_map`, `ori_shape` and
    `seg_fields` are used if present. Added keys: gt_seg_map ((H, W) uint8, 255 = ignore), its name
    in seg_fields.

    Args:
        ids: encoding of the files: 'cityscapes', 'synthia' or 'train'; None takes what the dataset
            says of itself.
        backend_args: options of mmengine's file backend.
    """

    def __init__(self, ids: str | None = None, backend_args: dict | None = None) -> None:
        if ids is not None:
            get_encoding(ids)  # a wrong name fails at build time
        self.ids = ids
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results.get('seg_map_path')
        if path is None:
            raise KeyError(
                f"{results.get('img_path')}: this sample has no label; give the dataset's "
                '`data_prefix` a `seg_map_path`, or remove LoadIdLabels from the pipeline of '
                'unlabelled images'
            )
        ids = self.ids or results.get('label_ids')
        if ids is None:
            raise ValueError(
                f'{path}: its encoding is unknown; set LoadIdLabels(ids=...) for datasets of other projects'
            )
        label = read_train_ids(path, ids, self.backend_args)
        self._check_size(label, results)
        # mmseg's way to train on other classes: old train id -> new.
        if results.get('label_map') is not None:
            label = _relabel_table(results['label_map'])[label]
        results['gt_seg_map'] = label
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    @staticmethod
    def _check_size(label: np.ndarray, results: dict) -> None:
        expected = results.get('ori_shape')
        if expected is not None and tuple(expected[:2]) != label.shape:
            height, width = expected[:2]
            raise ValueError(
                f'{results["seg_map_path"]}: the label is {label.shape[1]}x{label.shape[0]} but '
                f'its image {results.get("img_path")} is {width}x{height}; {AGAIN}'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ids={self.ids!r}, backend_args={self.backend_args})'


def _relabel_table(label_map: dict[int, int]) -> np.ndarray:
    """(256,) uint8 table of mmseg's `label_map`; labels that it does not name stay."""
    table = np.arange(256, dtype=np.uint8)
    table[list(label_map)] = list(label_map.values())
    table[IGNORE] = IGNORE
    return table
