"""Import `mmcv.ops` where mmcv has no compiled ops.

mmseg imports `mmcv.ops` for a few heads that most configs never build, and `mmcv.ops` looks up
its compiled functions in `mmcv._ext` while it is imported. A stand-in for `mmcv._ext` serves these look-ups and is
removed afterwards, so that `mmengine.utils.dl_utils.mmcv_full_available`, which chooses the SyncBatchNorm, still
returns False.
"""
import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

EXTENSION = 'mmcv._ext'


class MissingOps(ModuleType):
    """Stand-in for `mmcv._ext`: has every op by name; calling one raises an error that names the remedy."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # Python itself asks modules for __path__, __spec__ and the like: those are not there.
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> NoReturn:
            raise NotImplementedError(
                f'the compiled op `{name}` of mmcv is not installed (this is mmcv-lite). Either '
                'choose a model that does without it, or install the compiled edition: '
                '`pip uninstall mmcv-lite`, then `pip install mmcv==2.1.0`')

        return missing


def import_mmcv_ops() -> None:
    """Import `mmcv.ops`, compiled or not; does nothing if that has happened."""
    if 'mmcv.ops' in sys.modules:
        return
    if find_spec(EXTENSION) is not None:
        _import_compiled()
        return
    sys.modules[EXTENSION] = MissingOps(EXTENSION)
    try:
        importlib.import_module('mmcv.ops')
    finally:
        del sys.modules[EXTENSION]


def _import_compiled() -> None:
    try:
        importlib.import_module('mmcv.ops')
    except ImportError as error:
        raise ImportError(
            f"mmcv's compiled ops do not load ({error}). They were most likely built for another "
            'torch: build mmcv again for this one, or replace it by mmcv-lite==2.1.0') from error
