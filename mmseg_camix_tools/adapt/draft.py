"""Data and network of an adaptation, derived from a config, a source and a folder of target images."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mmengine import fileio
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image, UnidentifiedImageError

from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix.datasets.base import spread_indices
from mmseg_camix.datasets.folders import IMAGE_SUFFIXES, is_visible_image
from mmseg_camix.engine.config import load_config
from mmseg_camix.type_names import loads_label, type_name
from mmseg_camix_tools.doctor.sample import ORIENTATION
from mmseg_camix_tools.export.metainfo import dataset_meta, mapping
from mmseg_camix_tools.export.segmentor import as_dict, plain_segmentor

from . import AdaptError
from .arguments import Request

MEASURED_IMAGES = 200  # limit on images whose sizes are read
ROTATED = (5, 6, 7, 8)  # values of EXIF's orientation that exchange width and height
STEP = 32  # pixels; sides of crops are multiples, for networks of stride 32
ENOUGH_LABELS = 12  # labelled target images, of which a third is held out
LONGEST = 8192  # limit on the longer side of a resized image; large, so that the shorter side decides
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Draft:
    """Data and network of an adaptation."""

    cfg: Config  # the user's
    segmentor: dict[str, Any]  # config of the plain network
    source: dict[str, Any] | None  # config of the labelled data set, without crop, flip and packing
    metainfo: Mapping[str, Any]  # names of the classes, and their colours if known
    target: Path
    target_sizes: list[Size]  # of the image files, upright
    source_size: Size  # median of the resized images
    short_side: int  # of resized target images
    crop: Size  # upper limit
    batch: int
    few: dict[str, Any] | None = None  # config of the few labelled target images
    few_count: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.metainfo['classes'])

    @property
    def held_out(self) -> list[int]:
        """Indices of the labelled target images that are only evaluated: every third, if there are enough."""
        return list(range(2, self.few_count, 3)) if self.few_count >= ENOUGH_LABELS else []


def make_draft(request: Request) -> Draft:
    """Read config, source and target; raise if they do not suit an adaptation."""
    target_sizes = image_sizes(request.target)
    cfg = load_config(request.config, request.options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    segmentor = plain_segmentor(cfg)
    if request.source_free:
        return source_free_draft(request, cfg, segmentor, target_sizes)
    source = labelled_folder(request.source, '--source', request.classes) if request.source else \
        source_of(cfg, request.config)
    if request.source and request.checkpoint is None:
        set_num_classes(segmentor, len(request.classes or ()))
    dataset = DATASETS.build(copy.deepcopy(source))
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not names or not len(dataset):
        raise AdaptError(f'the source ({type_name(source)}) has no {"images" if names else "names of classes"}; give a '
                         'data set with metainfo=dict(classes=...), or --source FOLDER --classes NAME=NUMBER ...')
    paths = [dataset.get_data_info(index)['img_path'] for index in spread_indices(len(dataset), 20)]
    native = sorted(size for path in paths if (size := _upright_size(path))) or [(512, 512)]
    pipeline = plain_dataset(source)['pipeline']
    short = _evaluated_side(cfg) or min(resized(pipeline, native[len(native) // 2]))
    if request.source:
        short = min(short, int(median(map(min, native))))
        pipeline.append(resize_to(short))
    source_sizes = [resized(pipeline, size) for size in native]
    targets = [_with_short_side(size, short) for size in target_sizes]
    crop = largest_crop(_crop_of(cfg, segmentor, short), [common_size(source_sizes), *targets])
    few, few_count = few_labels(request, names, short)
    return Draft(cfg, segmentor, source, dataset.metainfo, request.target, target_sizes,
                 source_sizes[len(native) // 2], short, crop, _batch_of(cfg), few, few_count)


def source_free_draft(request: Request, cfg: Config, segmentor: dict[str, Any], target_sizes: list[Size]) -> Draft:
    """The draft of an adaptation without source: classes of the checkpoint or the config, sizes of the target.

    The data sets of the config are not opened.
    """
    heads = segmentor['decode_head']
    number = (heads[-1] if isinstance(heads, (list, tuple)) else heads)['num_classes']
    meta = mapping(mapping(read_checkpoint(request.checkpoint, 'cpu')).get('meta'))
    metainfo = dataset_meta(meta, cfg.to_dict(), number)
    size = target_sizes[len(target_sizes) // 2]
    short = _evaluated_side(cfg) or min(resized(_training_pipeline(cfg), size))
    targets = [_with_short_side(other, short) for other in target_sizes]
    few, few_count = few_labels(request, metainfo['classes'], short)
    return Draft(cfg, segmentor, None, metainfo, request.target, target_sizes, _with_short_side(size, short), short,
                 largest_crop(_crop_of(cfg, segmentor, short), targets), _batch_of(cfg), few, few_count)


def _training_pipeline(cfg: Mapping) -> list[dict]:
    """Pipeline configs of the labelled training data; [] if there are none."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    dataset = as_dict(copy.deepcopy(dataset.get('source') or dataset.get('target') or dataset))
    return plain_dataset(dataset).get('pipeline') or []


def _batch_of(cfg: Mapping) -> int:
    return max(2, (cfg.get('train_dataloader') or {}).get('batch_size') or 2)


# ------------------------------------------------------------------ source


def source_of(cfg: Mapping, name: str) -> dict[str, Any]:
    """The labelled data set of a config, adapted or not, with the loading part of its pipeline."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if not dataset:
        raise AdaptError(f'{name} has no train_dataloader; give the labelled data with --source FOLDER --classes ...')
    if dataset.get('target') and not dataset.get('source'):
        raise AdaptError(f'{name} trains without a source; adapt it with --source-free --checkpoint FILE, or give '
                         'labelled data with --source FOLDER --classes NAME=NUMBER ...')
    dataset = as_dict(copy.deepcopy(dataset.get('source', dataset)))
    if type_name(dataset) == 'RepeatDataset':
        dataset = dataset['dataset']
    plain = plain_dataset(dataset)
    pipeline = plain.get('pipeline')
    if not pipeline or not any(loads_label(transform) for transform in pipeline):
        raise AdaptError(f'{name}: the training data set ({type_name(plain)}) has no pipeline that loads labels; data '
                         'sets that join others are not supported: choose one of them, or use --source FOLDER')
    plain['pipeline'] = list(loading_part(pipeline))
    return dataset


def plain_dataset(dataset: dict[str, Any]) -> dict[str, Any]:
    """The innermost data set config, without wrappers; not a copy."""
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']
    return dataset


def loading_part(pipeline: list[dict]) -> Iterator[dict]:
    """The transforms without crops, flips, padding and packing, which the adaptation adds itself."""
    for transform in pipeline:
        name = type_name(transform)
        if not any(word in name for word in ('Crop', 'Flip', 'Pad', 'Pack', 'Formatting')):
            yield dict(transform)


def labelled_folder(root: Path, option: str, classes: Sequence) -> dict[str, Any]:
    """The data set of a folder with images/ and labels/; errors name the command-line option."""
    missing = [name for name in ('images', 'labels') if not (root / name).is_dir()]
    if missing:
        raise AdaptError(f'{option} {root}: there is no folder {root / missing[0]}; it must hold images/ and labels/ '
                         '(PNGs of class numbers) under the same names')
    return dict(type='FolderDataset', data_root=str(root.absolute()), classes=list(classes), ignore='others',
                pipeline=[dict(type='LoadImage'), dict(type='LoadIdLabels')])


def few_labels(request: Request, names: Sequence[str], short_side: int) -> tuple[dict[str, Any] | None, int]:
    """The data set of ``--few-labels`` and its number of images; labels are numbered as in --classes, or 0, 1, ..."""
    if request.few_labels is None:
        return None, 0
    dataset = labelled_folder(request.few_labels, '--few-labels', request.classes or names)
    count = len(DATASETS.build(dataset))
    dataset['pipeline'].append(resize_to(short_side))
    return dataset, count


def set_num_classes(segmentor: dict[str, Any], number: int) -> None:
    """Set the number of classes of all heads."""
    for key in ('decode_head', 'auxiliary_head'):
        heads = segmentor.get(key) or []
        for head in heads if isinstance(heads, list) else [heads]:
            head['num_classes'] = number


# ------------------------------------------------------------------ sizes


def resize_to(short_side: int) -> dict[str, Any]:
    """The transform that resizes images of any aspect by their shorter side."""
    return dict(type='Resize', scale=(LONGEST, short_side), keep_ratio=True)


def image_sizes(folder: Path) -> list[Size]:
    """Sizes of a sample of the images in a folder; raise if it has none."""
    if not folder.is_dir():
        raise AdaptError(f'--target {folder}: there is no such folder; give a folder of images')
    files = sorted(folder / path for path in fileio.list_dir_or_file(folder, list_dir=False, recursive=True)
                   if is_visible_image(path))  # as FolderDataset lists them
    if not files:
        raise AdaptError(f'--target {folder}: no image is in this folder or below it (known suffixes: '
                         f'{", ".join(IMAGE_SUFFIXES)})')
    sizes = [size for index in spread_indices(len(files), MEASURED_IMAGES) if (size := _upright_size(files[index]))]
    if not sizes:
        raise AdaptError(f'--target {folder}: none of its images can be read; the first is {files[0].name}')
    return sizes


def common_size(sizes: Sequence[Size]) -> Size:
    """The tenth percentile of heights and of widths, so that a few thumbnails do not make all crops small."""
    height, width = (sorted(sides)[len(sizes) // 10] for sides in zip(*sizes))
    return height, width


def largest_crop(wanted: Size, sizes: list[Size]) -> Size:
    """The wanted crop, reduced so that it fits into images of all these sizes; reduced sides are multiples of STEP."""
    height, width = (min(side, *(size[axis] for size in sizes)) for axis, side in enumerate(wanted))
    return _whole_steps(height, wanted[0]), _whole_steps(width, wanted[1])


def _whole_steps(side: int, wanted: int) -> int:
    return side if side == wanted or side < STEP else side // STEP * STEP


def _upright_size(path: str | os.PathLike) -> Size | None:
    """(height, width) of an image file after its EXIF rotation; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.format != 'TIFF' and image.getexif().get(ORIENTATION) in ROTATED  # TIFFs open upright
            return (width, height) if turned else (height, width)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _with_short_side(size: Size, short: int) -> Size:
    height, width = (max(short, round(side * short / min(size))) for side in size)
    return height, width


def resized(pipeline: list[dict], size: Size) -> Size:
    """Size of an image after the resizes of a pipeline, without their random factors."""
    for transform in pipeline:
        scale, name = transform.get('scale') or transform.get('scales'), type_name(transform)
        if name == 'Resize' and (factor := transform.get('scale_factor')):
            factors = factor if isinstance(factor, (list, tuple)) else (factor, factor)  # of width and height
            size = (round(size[0] * factors[1]), round(size[1] * factors[0]))
            continue
        if not name.endswith('Resize') or not isinstance(scale, (list, tuple)):
            continue
        if transform.get('scales') and not isinstance(scale[0], (list, tuple)):  # lengths of the shorter side
            size = _with_short_side(size, min(scale))
            continue
        scale = min(scale) if isinstance(scale[0], (list, tuple)) else scale
        if transform.get('keep_ratio') or name == 'ResizeShortestEdge':
            factor = min(max(scale) / max(size), min(scale) / min(size))
            size = (round(size[0] * factor), round(size[1] * factor))
        else:
            size = (scale[1], scale[0])
    return size


def _evaluated_side(cfg: Mapping) -> int | None:
    """The shorter side to which the config resizes evaluated images; None if it does not resize them."""
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = (cfg.get(loader) or ConfigDict()).get('dataset') or {}
        for transform in plain_dataset(dataset).get('pipeline') or []:
            if type_name(transform) == 'Resize' and isinstance(transform.get('scale'), (list, tuple)):
                return min(transform['scale'])
    return None


def _crop_of(cfg: Mapping, segmentor: Mapping, short: int) -> Size:
    """The training crop of the config, or a square of the shorter side."""
    size = segmentor['data_preprocessor'].get('size') or cfg.get('crop_size') or (short, short)
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
