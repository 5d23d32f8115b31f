"""Custom data: a folder of images, a folder of labels, and custom classes."""

import colorsys
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmseg.registry import DATASETS

from .base import RawSegDataset
from .encodings import CLASSES, CUSTOM, IGNORE, PALETTE, Encoding, as_tuple

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class FolderDataset(RawSegDataset):
    """Images and label PNGs in two folders, under the same names, with custom classes.

    ``FolderDataset(data_root='data/simulator', classes=dict(road=1, grass=[2, 3], sky=4))`` reads
    ``data/simulator/images/**`` and ``data/simulator/labels/**.png``. Labels have one channel (grey or palette) whose
    values are the numbers given; a number that is neither a class nor in ``ignore`` is an error that names the file.

    Args:
        data_root: folder that holds both.
        classes: name -> number in the label files, or several numbers. The network's outputs are in the order of the
            (least) numbers, because a config that mmengine writes sorts the names. Where that differs between sets,
            give all of them pairs in one order: ``[('road', 1), ('sky', [4, 5])]``. Plain names have the numbers
            0, 1, 2, ...
        images: folder of the images below `data_root`; '' for `data_root` itself.
        labels: folder of the labels; None for unlabelled images, as a target training set.
        ignore: further numbers that label files may hold, whose pixels are ignored; 'others' ignores every number
            that is not a class.
        bits: of a label's pixels, 8 or 16.
        palette: RGB of each class for pictures; None chooses.
        ann_file: optional list below `data_root`: one name per line, without suffix.
        img_suffix: end of an image's file name; None takes all common image formats.
        seg_map_suffix: end of its label's.
        pipeline: transforms.
        cache: folder of caches below `data_root` ('cache') that mmseg-camix cache has built: images are
            read from there, loaded and resized. The samples are identical.
        indices, spread, test_mode, lazy_init, serialize_data, backend_args: as of `RawSegDataset`.
    """

    METAINFO: dict = {}
    FOLDER_OPTIONS = dict(img_path='images', seg_map_path='labels')
    SKIP_HINT = 'restore the files, or list the other images in `ann_file`'

    def __init__(self, data_root: str, classes: Mapping[str, int | Sequence[int]] | Sequence[str | tuple],
                 images: str = 'images', labels: str | None = 'labels', ignore: Sequence[int] | str = (IGNORE,),
                 bits: int = 8, palette: Sequence[Sequence[int]] | None = None, ann_file: str = '',
                 img_suffix: str | None = None, seg_map_suffix: str = '.png', pipeline: Sequence[dict | Callable] = (),
                 cache: str = '', indices: int | Sequence[int] | None = None, spread: int | None = None,
                 test_mode: bool = False, lazy_init: bool = False, serialize_data: bool = True,
                 backend_args: dict | None = None) -> None:
        self.encoding = custom_encoding(classes, ignore, bits)
        names = self.encoding.classes
        if palette is not None and len(palette) != len(names):
            raise ValueError(f'palette has {len(palette)} colours for {len(names)} classes; give one for each')
        self._any_suffix = img_suffix is None
        folders = dict(img_path=images) if labels is None else dict(img_path=images, seg_map_path=labels)
        metainfo = dict(classes=names, palette=palette or class_colours(names), present_classes=names)
        super().__init__(
            data_root=data_root, data_prefix=folders, ann_file=ann_file, pipeline=pipeline, cache=cache,
            img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, metainfo=metainfo, indices=indices, spread=spread,
            test_mode=test_mode, lazy_init=lazy_init, serialize_data=serialize_data, backend_args=backend_args)

    def get_data_info(self, idx: int) -> dict:
        """A sample's description, with the encoding of its label."""
        return dict(super().get_data_info(idx), label_ids=self.encoding)

    def _images(self) -> dict[str, str]:
        if not self._any_suffix:
            return super()._images()
        images: dict[str, str] = {}
        for path in sorted(self._files('img_path', '')):
            name = os.path.splitext(path)[0]
            if not is_visible_image(path) or self._is_label(path):
                continue
            if name in images and 'seg_map_path' not in self.data_prefix and not self.ann_file:
                name = path
            elif name in images:
                raise ValueError(f'{self.data_prefix["img_path"]} holds {images[name]} and {path}, two images for the '
                                 f'label {name}{self.seg_map_suffix}; remove one of them, or set `img_suffix`')
            images[name] = path
        return images

    def _is_label(self, path: str) -> bool:
        """Whether a file below the image folder lies in the label folder: `images` may be the data root."""
        labels = self.data_prefix.get('seg_map_path')
        if labels is None:
            return False
        inside = os.path.relpath(labels, self.data_prefix['img_path']).replace(os.sep, '/')
        return not inside.startswith('.') and path.startswith(inside + '/')

    def _folder_hint(self) -> str:
        return (f'`data_root` (now {self.data_root!r}) must be the folder that holds the two folders named by '
                '`images` and `labels`')

    def _unlabelled_hint(self, key: str) -> str:
        return '. For an unlabelled target set, give labels=None' if key == 'seg_map_path' else ''


def is_visible_image(path: str) -> bool:
    """Whether a path below a folder has the suffix of an image, and no part of it is hidden (.thumbnails/a.jpg)."""
    visible = not any(part.startswith('.') for part in Path(path).parts)
    return visible and os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def custom_encoding(classes: Mapping[str, int | Sequence[int]] | Sequence[str | tuple],
                    ignore: Sequence[int] | str = (IGNORE,), bits: int = 8) -> Encoding:
    """The encoding of label files with custom classes; arguments as of `FolderDataset`."""
    if isinstance(classes, str) or not classes:
        raise ValueError(f'classes={classes!r} must be names with their numbers in the label files, dict(road=1, '
                         "grass=[2, 3]), or pairs, [('road', 1), ('grass', [2, 3])], or just names, ['road', 'grass']")
    if bits not in (8, 16):
        raise ValueError(f'bits={bits} must be 8 or 16, those of a pixel in the label files')
    pairs = list(classes.items()) if isinstance(classes, Mapping) else [
        (given, index) if isinstance(given, str) else tuple(given) for index, given in enumerate(classes)]
    raw = {name: as_tuple(ids) for name, ids in pairs}
    if len(raw) < len(pairs):
        raise ValueError(f'classes: a name occurs twice in {[name for name, _ in pairs]}')
    owner = _owners(raw, bits)
    if isinstance(classes, Mapping):
        raw = dict(sorted(raw.items(), key=lambda item: min(item[1])))
    if ignore == 'others':
        valid = range(2**bits)
    else:
        valid = sorted(owner.keys() | _ignored_numbers(ignore, owner, bits))
    listed = ', '.join(f'{name} {"/".join(map(str, ids))}' for name, ids in raw.items())
    return Encoding(name=CUSTOM, raw_ids=raw, valid=tuple(valid), bits=bits, classes=tuple(raw),
                    description=f'a single-channel {bits}-bit PNG with {listed}',
                    remedy="add them to `classes`, or to `ignore` (ignore='others' takes all), or repair the file")


def _ignored_numbers(ignore: Sequence[int] | str, owner: Mapping[int, str], bits: int) -> set[int]:
    """The numbers to ignore; refuse those that label files cannot hold, and those of classes."""
    numbers = as_tuple(ignore)
    if not all(isinstance(number, int) and 0 <= number < 2**bits for number in numbers):
        raise ValueError(f"ignore={ignore!r} must be numbers from 0 to {2**bits - 1}, or 'others' for every number "
                         'that is not a class')
    if shared := [number for number in numbers if number in owner and number != IGNORE]:  # 255 is there by default
        raise ValueError(f'ignore={ignore!r}: {shared[0]} is the number of the class {owner[shared[0]]}; remove it '
                         'from `ignore` or from `classes`')
    return set(numbers)


def _owners(raw: Mapping[str, tuple[int, ...]], bits: int) -> dict[int, str]:
    """Number -> its class; refuse numbers that label files cannot hold, and those of two classes."""
    owner: dict[int, str] = {}
    for name, ids in raw.items():
        if not ids:
            raise ValueError(f'classes: {name} has no number')
        for number in ids:
            if not isinstance(number, int) or not 0 <= number < 2**bits:
                raise ValueError(f'classes: {name}={number!r} is not a number from 0 to {2**bits - 1}, as label files '
                                 f'of {bits} bits hold them' + (' (16-bit labels: bits=16)' if bits == 8 else ''))
            if number in owner:
                raise ValueError(f'classes: {owner[number]} and {name} both have the number {number}; each number '
                                 'belongs to one class')
            owner[number] = name
    if len(raw) >= IGNORE - 1:
        raise ValueError(f'{len(raw)} classes are too many: train ids have 8 bits, two of whose values are reserved')
    return owner


def class_colours(names: Sequence[str]) -> list[list[int]]:
    """RGB of each class: that of Cityscapes where it has the class, otherwise well separated hues."""
    known = dict(zip(CLASSES, PALETTE))
    colours = []
    for index, name in enumerate(names):
        hue = 0.02 + index * 0.61803398875  # the golden ratio spreads any number of hues
        rgb = colorsys.hsv_to_rgb(hue % 1, (0.75, 0.5)[index % 2], (0.9, 0.7)[index // 2 % 2])
        colours.append(list(known.get(name, [round(255 * value) for value in rgb])))
    return colours
