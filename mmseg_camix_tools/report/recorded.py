"""What the data set of a recorded config may be: one that only reads images and labels of this machine.

A work folder may be a stranger's, and some classes of mmseg and mmengine unpickle files (DecathlonDataset,
LoadBiomedicalImageFromFile), extend the module path (the backend memcached) or open addresses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.datasets import BaseSegDataset

from ..export.segmentor import SCOPE, registered
from .training import ReportError

# Classes of OpenMMLab, besides those that list their files as BaseSegDataset does.
CLASSES = ('ClassBalancedDataset', 'ConcatDataset', 'RepeatDataset', 'LoadAnnotations', 'LoadImageFromFile',
           'Normalize', 'PackSegInputs', 'Pad', 'Resize', 'ResizeShortestEdge', 'ResizeToMultiple')
STOCK_PACKAGES = ('mmseg', 'mmcv', 'mmengine', 'torch')
OWN_MODULES = ('mmseg_camix.datasets.', 'mmseg_camix.cache.')
BACKENDS = ('backend_args', 'file_client_args')


def check_dataset(node: Any, place: str) -> None:
    """Raise where the config of a data set, or a part of it, would do more than read images and labels.

    Args:
        node: the config, or the part.
        place: its name in the error.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            inside = f'{place}.{key}'
            if key == 'type':
                _check_class(value, inside)
            elif (str(key).startswith('_') and (key, value) != SCOPE) or (key in BACKENDS and value is not None):
                raise _refusal(inside)
            else:
                check_dataset(value, inside)
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            check_dataset(item, f'{place}[{index}]')
    elif isinstance(node, str) and '://' in node:
        raise _refusal(place)


def local_files(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    """The image of each sample; raise where an image or a label has an address, which a list of names may contain."""
    for info in infos:
        for path in (info['img_path'], info.get('seg_map_path')):
            if path and '://' in path:
                raise ReportError(f'{path}, of the recorded data set, was not opened: it is not on this machine')
    return [info['img_path'] for info in infos]


def _check_class(kind: Any, place: str) -> None:
    cls = registered(kind) if isinstance(kind, str) else None
    module = getattr(cls, '__module__', '') + '.'
    package = module.split('.')[0]
    if package in STOCK_PACKAGES:
        lists_files = getattr(cls, 'load_data_list', None) is BaseSegDataset.load_data_list
        accepted = lists_files or cls.__name__ in CLASSES
    else:  # modules of other packages are registered only where the user has imported them
        accepted = cls is not None and (package != 'mmseg_camix' or module.startswith(OWN_MODULES))
    if not accepted:
        raise _refusal(place)


def _refusal(place: str) -> ReportError:
    return ReportError(f'{place} of the recorded config was not built, because it may do more than read images and '
                       'labels')
