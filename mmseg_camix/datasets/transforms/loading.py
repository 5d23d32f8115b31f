"""Load images and labels, with errors that name the file and the remedy, and pack samples for the model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ..encodings import IGNORE, Encoding, get_encoding
from ..image_files import decode, read_bytes, read_train_ids

FILE_HINT = 'restore this file, or list the other images in `ann_file`'
DOWNLOAD_HINT = ("unpack or download this file again, list the other images in `ann_file`, or run "
                 "mmseg-camix prepare, which lists damaged files, and set skip='defects.json'")

# mmseg's keys, then those of this project.
META_KEYS: tuple[str, ...] = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip',
                              'flip_direction', 'reduce_zero_label', 'sample_idx', 'crop_box', 'resized_shape')


@contextmanager
def file_hint(label_ids: str | Encoding | None) -> Iterator[None]:
    """Append the remedy to errors about damaged files; `prepare` and `skip` exist only for public families."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the operating system
            raise
        hint = DOWNLOAD_HINT if isinstance(label_ids, str) else FILE_HINT
        raise type(error)(f'{error}; {hint}') from error


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
        with file_hint(results.get('label_ids')):
            img = decode(read_bytes(path, self.backend_args))
            if img is None:
                raise OSError(f'{path}: the image is damaged or of an unknown format')
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(to_float32={self.to_float32}, backend_args={self.backend_args})'


@TRANSFORMS.register_module()
class LoadIdLabels(BaseTransform):
    """Load a label PNG of any family as train ids.

    Replaces mmseg's `LoadAnnotations`, which reads neither GTA's palette ids nor SYNTHIA's 16 bits.

    Required keys: seg_map_path; `label_ids` unless `ids` is given; `label_map`, `ori_shape` and `seg_fields` are used
    if present. Added keys: gt_seg_map ((H, W) uint8, 255 = ignore), its name in seg_fields.

    Args:
        ids: encoding of the files: 'cityscapes', 'synthia' or 'train'; None takes the dataset's.
        backend_args: options of mmengine's file backend.
    """

    def __init__(self, ids: str | None = None, backend_args: dict | None = None) -> None:
        if ids is not None:
            get_encoding(ids)  # an unknown name fails at build time
        self.ids = ids
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results.get('seg_map_path')
        if path is None:
            raise KeyError(f"{results.get('img_path')}: this sample has no label; name the folder of labels (`labels` "
                           'of FolderDataset, `seg_map_path` in the `data_prefix` of other data sets), or remove '
                           'LoadIdLabels from the pipeline of unlabelled images')
        ids = self.ids or results.get('label_ids')
        if ids is None:
            raise ValueError(f'{path}: its encoding is unknown; set LoadIdLabels(ids=...) for datasets of other '
                             'projects')
        with file_hint(ids):
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
            hint = DOWNLOAD_HINT if isinstance(results.get('label_ids'), str) else FILE_HINT
            raise ValueError(f'{results["seg_map_path"]}: the label is {label.shape[1]}x{label.shape[0]} but '
                             f'its image {results.get("img_path")} is {width}x{height}; {hint}')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ids={self.ids!r}, backend_args={self.backend_args})'


def _relabel_table(label_map: dict[int, int]) -> np.ndarray:
    """(256,) uint8 table of mmseg's `label_map`; labels that it does not name stay."""
    table = np.arange(256, dtype=np.uint8)
    table[list(label_map)] = list(label_map.values())
    table[IGNORE] = IGNORE
    return table


@TRANSFORMS.register_module()
class PackUDAInputs(PackSegInputs):
    """mmseg's `PackSegInputs` with the sample's index and geometry in its metainfo.

    Every packed sample has `flip` (bool) and `flip_direction`, also if the pipeline has no flip.

    Args:
        meta_keys: keys that are copied from the pipeline's results into the metainfo, where they exist.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        results.setdefault('flip', False)
        results.setdefault('flip_direction', None)
        return super().transform(results)
