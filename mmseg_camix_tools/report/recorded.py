"""What the data set of a recorded config may be: one that only reads images and labels of this machine.

A work folder may be a stranger's, and some classes of mmseg and mmengine unpickle files (DecathlonDataset,
LoadBiomedicalImageFromFile), extend the module path (the backend memcached) or open addresses. Others repeat samples
without end, or enlarge images beyond any memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset

from mmseg_camix.datasets.image_files import read_bytes

from ..export.embedded import excess
from ..export.segmentor import SCOPE, STOCK_PACKAGES, registered
from .training import ReportError

# Classes of OpenMMLab, besides those that list their files as BaseSegDataset does.
CLASSES = ('ConcatDataset', 'LoadAnnotations', 'LoadImageFromFile', 'Normalize', 'PackSegInputs', 'Pad', 'Resize',
           'ResizeShortestEdge', 'ResizeToMultiple')
OWN_MODULE = 'mmseg_camix.datasets.'
BACKENDS = ('backend_args', 'file_client_args')
PIPELINES = ('pipeline', 'transforms')
CACHE = 'cache'


def without_cache(node: Any) -> Any:
    """The config of a data set that reads the images themselves, which are equal, and no file of a cache."""
    if isinstance(node, Mapping):
        return {key: without_cache(value) for key, value in node.items()
                if not (key == CACHE and isinstance(value, str))}
    return type(node)(map(without_cache, node)) if isinstance(node, (list, tuple)) else node


def check_dataset(node: Any, place: str, in_pipeline: bool = False) -> None:
    """Raise where the config of a data set, or a part of it, would do more than read images and labels.

    Args:
        node: the config, or the part.
        place: its name in the error.
        in_pipeline: whether it is of a transform, whose numbers are sizes.
    """
    if in_pipeline and (reason := excess(node, place.rpartition('.')[2].partition('[')[0])):
        raise _refusal(place, reason)
    if isinstance(node, Mapping):
        for key, value in node.items():
            inside = f'{place}.{key}'
            if key == 'type':
                _check_class(value, inside)
            elif (str(key).startswith('_') and (key, value) != SCOPE) or (key in BACKENDS and value is not None):
                raise _refusal(inside)
            else:
                check_dataset(value, inside, in_pipeline or key in PIPELINES)
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            check_dataset(item, f'{place}[{index}]', in_pipeline)
    elif isinstance(node, str) and '://' in node:
        raise _refusal(place)


def local_files(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    """The image of each sample; raise where a list of names has an address, or a device, which may never end."""
    for info in infos:
        for path in (info['img_path'], info.get('seg_map_path')):
            if path and '://' in path:
                raise ReportError(f'{path}, of the recorded data set, was not opened: it is not on this machine')
            if path and Path(path).exists() and not Path(path).is_file():
                raise ReportError(f'{path}, of the recorded data set, was not opened: it is not a file')
    return [info['img_path'] for info in infos]


def check_sizes(info: Mapping[str, Any]) -> None:
    """Raise OSError where the image or the label of a sample announces a size that cannot be true."""
    for path in (info['img_path'], info.get('seg_map_path')):
        if path:
            read_bytes(path)


def _check_class(kind: Any, place: str) -> None:
    cls = registered(kind) if isinstance(kind, str) else None
    module = getattr(cls, '__module__', '') + '.'
    package = module.split('.')[0]
    if package in STOCK_PACKAGES:
        lists_files = getattr(cls, 'load_data_list', None) is BaseSegDataset.load_data_list
        accepted = lists_files or cls.__name__ in CLASSES
    else:  # modules of other packages are registered only where the user has imported them
        accepted = cls is not None and (package != 'mmseg_camix' or (
            module.startswith(OWN_MODULE) and issubclass(cls, (BaseSegDataset, BaseTransform))))
    if not accepted:
        raise _refusal(place)


def _refusal(place: str, reason: str = 'it may do more than read images and labels') -> ReportError:
    return ReportError(f'{place} of the recorded config was not built, because {reason}')
