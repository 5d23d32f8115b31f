"""ACDC (Sakaridis et al., ICCV 2021): fog, night, rain and snow."""

from collections.abc import Callable, Sequence

from mmseg.registry import DATASETS

from .base import RawSegDataset

CONDITIONS = ('fog', 'night', 'rain', 'snow')
SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class ACDCDataset(RawSegDataset):
    """ACDC as downloaded: `rgb_anon/fog/train/GOPR0475/*_rgb_anon.png`, `gt/...` alike.

    The images of the same places in good weather (`train_ref`, ...) are left out.

    Args:
        data_root: folder that holds `rgb_anon` and `gt`.
        split: 'train', 'val' or 'test'.
        conditions: some of fog, night, rain and snow.
        labels: whether to read them; off for a target training set. Those of 'test' are not public.
        pipeline: transforms.
        skip: list of defects of `tools/dataset/prepare.py`, as of `RawSegDataset`.
        cache: folder of caches, as of `RawSegDataset`.
        metainfo: overrides of METAINFO.
        indices: use only the first n samples, or these.
        test_mode: as in mmseg.
        lazy_init: do not look for files yet.
        serialize_data: keep the list in one block of memory that workers share.
        backend_args: options of mmengine's file backend.
    """

    PREFIX = dict(img_path='rgb_anon', seg_map_path='gt')
    IMG_SUFFIX = '_rgb_anon.png'
    LABEL_SUFFIX = '_gt_labelIds.png'
    DOWNLOAD = 'ACDC (acdc.vision.ee.ethz.ch; rgb_anon and gt, both unpacked)'

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        conditions: Sequence[str] = CONDITIONS,
        labels: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        skip: str = '',
        cache: str = '',
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        serialize_data: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        self.split, self.conditions = split, (conditions,) if isinstance(conditions, str) else tuple(conditions)
        if split not in SPLITS:
            raise ValueError(f'split={split!r} is not one of {", ".join(SPLITS)}')
        if not self.conditions or set(self.conditions) - set(CONDITIONS):
            raise ValueError(f'conditions={conditions!r} must be some of {", ".join(CONDITIONS)}')
        prefix = self.PREFIX if labels else dict(img_path=self.PREFIX['img_path'])
        super().__init__(
            data_root=data_root, data_prefix=prefix, pipeline=pipeline, skip=skip, cache=cache, metainfo=metainfo,
            indices=indices, test_mode=test_mode, lazy_init=lazy_init, serialize_data=serialize_data,
            backend_args=backend_args)

    def is_mine(self, name: str) -> bool:
        """Whether an image is of these conditions and this split."""
        condition, split, *_ = *name.split('/'), ''
        return condition in self.conditions and split == self.split

    def load_data_list(self) -> list[dict]:
        """List images and labels; refuse to train on nothing."""
        found = super().load_data_list()
        if not found:
            raise FileNotFoundError(f'{self.data_prefix["img_path"]}: no image of {", ".join(self.conditions)} in the '
                                    f'split {self.split!r}. {self._remedy()}')
        return found
