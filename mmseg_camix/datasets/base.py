"""Base of all readers: checks at build time whose errors name the file and the remedy."""

import os
from collections.abc import Callable, Container, Sequence

import mmengine.fileio as fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from .defects import read_defects
from .encodings import CLASSES, PALETTE, get_encoding
from .fixed_part import use_cache


def spread_indices(count: int, limit: int) -> list[int]:
    """Up to `limit` indices below `count`, evenly spread from the first to the last."""
    return sorted({index * (count - 1) // max(min(count, limit) - 1, 1) for index in range(min(count, limit))})


class RawSegDataset(BaseSegDataset):
    """A segmentation dataset read as it was downloaded.

    Each sample names its encoding for `LoadIdLabels` (key `label_ids`), so that pipelines need not repeat it.

    Args:
        data_root: folder of the family's download.
        data_prefix: folders of images (`img_path`) and labels (`seg_map_path`) below `data_root`; None takes the
            family's. Without `seg_map_path` the set is unlabelled, as a target training set is.
        ann_file: optional list below `data_root`: one name per line, relative to the folders and without suffix.
        pipeline: transforms.
        skip: list of defects that `mmseg-camix prepare` has written, below `data_root` ('defects.json'); its
            samples are left out. Without it they are errors.
        cache: folder of caches below `data_root` ('cache') that `mmseg-camix prepare` or `cache` has built: images
            are read from there, loaded and resized. The samples are identical.
        ids: encoding of the labels: 'cityscapes', 'synthia' or 'train'; None takes the family's raw ids.
        img_suffix: end of an image's file name; None takes the family's.
        seg_map_suffix: end of its label's; None takes the family's.
        metainfo: overrides of METAINFO, for example `classes` for training on fewer.
        indices: use only the first n samples, or these.
        spread: use only n samples, evenly spread over the sorted list; `indices` then counts among them.
        test_mode: as in mmseg.
        lazy_init: do not look for files yet.
        serialize_data: keep the list in one block of memory that workers share.
        backend_args: options of mmengine's file backend.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE, present_classes=CLASSES)
    # Set by each family.
    PREFIX: dict[str, str] = dict(img_path='', seg_map_path='')
    IMG_SUFFIX = '.png'
    LABEL_SUFFIX = '.png'
    TRAIN_ID_SUFFIX = ''
    IDS = 'cityscapes'
    DOWNLOAD = ''
    FOLDER_OPTIONS = dict(img_path='img_path', seg_map_path='seg_map_path')
    SKIP_HINT = ("restore the files, list the others in `ann_file`, or run mmseg-camix prepare, which lists "
                 "defects, and set skip='defects.json'")

    def __init__(self, data_root: str = '', data_prefix: dict[str, str] | None = None, ann_file: str = '',
                 pipeline: Sequence[dict | Callable] = (), skip: str = '', cache: str = '', ids: str | None = None,
                 img_suffix: str | None = None, seg_map_suffix: str | None = None, metainfo: dict | None = None,
                 indices: int | Sequence[int] | None = None, spread: int | None = None, test_mode: bool = False,
                 lazy_init: bool = False, serialize_data: bool = True, backend_args: dict | None = None) -> None:
        if spread is not None and spread < 1:
            raise ValueError(f'spread={spread} must be at least 1, a number of samples, or None for all')
        self.spread = spread
        self.ids = get_encoding(ids or self.IDS).name
        self.skip = os.path.join(data_root, skip) if skip else ''
        # For checks: drop samples with missing files, and record these by kind, 'image' or 'label'.
        self.drop_incomplete, self.missing = False, {}
        super().__init__(
            ann_file=ann_file, img_suffix=self.IMG_SUFFIX if img_suffix is None else img_suffix,
            seg_map_suffix=self.LABEL_SUFFIX if seg_map_suffix is None else seg_map_suffix, metainfo=metainfo,
            data_root=data_root, data_prefix=self.PREFIX if data_prefix is None else data_prefix, indices=indices,
            serialize_data=serialize_data, pipeline=use_cache(pipeline, data_root, cache) if cache else list(pipeline),
            test_mode=test_mode, lazy_init=lazy_init, backend_args=backend_args)
        # Training on fewer classes leaves fewer present.
        present, classes = self._metainfo['present_classes'], self._metainfo['classes']
        self._metainfo['present_classes'] = tuple(c for c in present if c in classes)

    def load_data_list(self) -> list[dict]:
        """List images and labels; refuse empty folders and images without a label."""
        images = self._images()
        if not images:
            raise FileNotFoundError(f'{self.data_prefix["img_path"]}: no image ends in {self.img_suffix!r}; set '
                                    f'`img_suffix`. {self._folder_hint()}')
        names = sorted(images)
        if self.ann_file and not os.path.isdir(self.ann_file):
            names = self._complete(self._listed_names(), images, 'img_path', self.img_suffix)
        names = [name for name in names if self.is_included(name)]
        labelled = 'seg_map_path' in self.data_prefix
        if self.skip:
            names = self._without_defects(names, labelled)
        if labelled:
            labels = {label.removesuffix(self.seg_map_suffix)
                      for label in self._files('seg_map_path', self.seg_map_suffix)}
            names = self._complete(names, labels, 'seg_map_path', self.seg_map_suffix, self.label_name)
        if self.spread is not None:
            if len(names) < self.spread:
                raise ValueError(f'spread={self.spread}: {self.data_prefix["img_path"]} has only {len(names)} samples')
            names = [names[index] for index in spread_indices(len(names), self.spread)]
        self._check_indices(len(names))
        return [self._sample(name, images[name], labelled) for name in names]

    def _check_indices(self, count: int) -> None:
        """Refuse listed `indices` of samples that do not exist."""
        listed = self._indices if isinstance(self._indices, Sequence) else ()
        if wrong := [index for index in listed if not -count <= index < count]:
            raise ValueError(f'indices: there is no sample {wrong[0]}; {self.data_prefix["img_path"]} has {count}, '
                             f'numbered from 0')

    def is_included(self, name: str) -> bool:
        """Whether an image of the folder belongs to the set."""
        return True

    def label_name(self, name: str) -> str:
        """The name, below the folder of labels, of an image's label."""
        return name

    def full_init(self) -> None:
        """List the samples, and find the cache."""
        super().full_init()
        for transform in self.pipeline.transforms:
            if hasattr(transform, 'find_cache') and len(self):
                transform.find_cache(self.get_data_info(0))

    def prepare_data(self, idx: int) -> dict:
        """Run the pipeline; if it returns None, fail instead of taking another image."""
        return self.refuse_none(super().prepare_data(idx), idx)

    def refuse_none(self, data: dict | None, idx: int) -> dict:
        """Return the pipeline's result for a sample, which must not be None."""
        if data is None:
            path = self.get_data_info(idx)['img_path']
            raise RuntimeError(f'{path}: the pipeline returned None for this image; remove the transform that drops '
                               'samples, or list the other images in `ann_file`')
        return data

    def _without_defects(self, names: list[str], labelled: bool) -> list[str]:
        skipped = read_defects(self.skip).skipped_names(
            self.data_root, self.data_prefix['img_path'], self.img_suffix, labelled)
        kept = [name for name in names if name not in skipped]
        if len(kept) < len(names):
            print_log(f'{type(self).__name__}: {len(names) - len(kept)} of {len(names)} samples are left out because '
                      f'{self.skip} lists them', 'current')
        return kept

    def _sample(self, name: str, image: str, labelled: bool) -> dict:
        sample = dict(img_path=fileio.join_path(self.data_prefix['img_path'], image), label_map=self.label_map,
                      label_ids=self.ids, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        if labelled:
            sample['seg_map_path'] = fileio.join_path(self.data_prefix['seg_map_path'],
                                                      self.label_name(name) + self.seg_map_suffix)
        return sample

    def _images(self) -> dict[str, str]:
        """Name -> path of the image below its folder."""
        return {path.removesuffix(self.img_suffix): path for path in self._files('img_path', self.img_suffix)}

    def _files(self, key: str, suffix: str | tuple[str, ...]) -> Sequence[str]:
        """Paths below a folder of `data_prefix`, relative to it, with this suffix."""
        folder = self.data_prefix[key]
        if not fileio.isdir(folder, backend_args=self.backend_args):
            option = f'`{self.FOLDER_OPTIONS[key]}` of {type(self).__name__}'
            raise FileNotFoundError(f'{folder}: no such folder ({option}). {self._folder_hint()}'
                                    f'{self._unlabelled_hint(key)}')
        return list(fileio.list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True,
                                            backend_args=self.backend_args))

    def _listed_names(self) -> list[str]:
        if not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            raise FileNotFoundError(f'{self.ann_file}: no such list; `ann_file` holds one name per line, without '
                                    "suffix; leave it at '' to use every image")
        lines = fileio.get_text(self.ann_file, backend_args=self.backend_args).splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise ValueError(f'{self.ann_file}: the list is empty; write one name per line, without suffix')
        return names

    def _complete(self, names: list[str], present: Container[str], key: str, suffix: str,
                  file_name: Callable[[str], str] = str) -> list[str]:
        """The names whose file is present; refuse missing files, unless `drop_incomplete`."""
        missing = [fileio.join_path(self.data_prefix[key], file_name(name) + suffix) for name in names
                   if file_name(name) not in present]
        kind, other = ('label', 'image') if key == 'seg_map_path' else ('image', 'line of `ann_file`')
        if missing and not self.drop_incomplete:
            every = kind == 'label' and len(missing) == len(names)
            hint = f'set `seg_map_suffix`, if the labels do not end in {suffix!r}; otherwise ' if every else ''
            raise FileNotFoundError(f'{missing[0]}: no {kind} for this {other} ({len(missing)} of {len(names)} lack '
                                    f'theirs); {hint}{self.SKIP_HINT}')
        if missing:
            self.missing[kind] = missing
        return [name for name in names if file_name(name) in present]

    @classmethod
    def describe_download(cls, root: str) -> str:
        """What the folder `root` must hold, for errors."""
        return cls.DOWNLOAD

    def _folder_hint(self) -> str:
        return (f'Set `data_root` (now {self.data_root!r}) to the folder of {self.DOWNLOAD}, or make '
                'the miniature benchmark: mmseg-camix draw')

    def _unlabelled_hint(self, key: str) -> str:
        if key != 'seg_map_path':
            return ''
        return '. For an unlabelled target set, leave `seg_map_path` out of `data_prefix`'
