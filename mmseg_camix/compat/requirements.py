"""Errors that name the remedy, for what mmseg needs and pip did not install."""
import importlib
from importlib.util import find_spec

# The versions that mmseg 1.2.2 asserts; checked here first, because its own message omits the maximum.
MMCV_MIN, MMCV_MAX = '2.0.0rc4', '2.2.0'

MMCV_CHOICES = (
    'install one of its two editions:\n'
    '    pip install mmcv-lite==2.1.0    no compiler needed; enough for every config here\n'
    '    pip install mmcv==2.1.0         compiled ops, for the few mmseg models that need them\n'
    'Both own the folder `mmcv`: uninstall the one before installing the other.')


def check_requirements() -> None:
    """Raise ImportError with a remedy if mmcv does not fit or ftfy or regex is missing."""
    _check_mmcv()
    # mmseg imports both (its text encoders need them) without declaring them.
    missing = [name for name in ('ftfy', 'regex') if find_spec(name) is None]
    if missing:
        names = ' '.join(missing)
        raise ImportError(f'mmseg needs the missing {names} without declaring it: '
                          f'pip install {names}')


def _check_mmcv() -> None:
    if find_spec('mmcv') is None:
        raise ImportError(f'mmcv is not installed; {MMCV_CHOICES}')
    mmcv = importlib.import_module('mmcv')
    version = getattr(mmcv, '__version__', None)
    if version is None:
        # What uninstalling one edition leaves of the other: a folder without an __init__.py.
        raise ImportError('mmcv is damaged: its folder is there, its code is not. Uninstall '
                          f'mmcv and mmcv-lite, then {MMCV_CHOICES}')
    from mmengine.utils import digit_version
    if not digit_version(MMCV_MIN) <= digit_version(version) < digit_version(MMCV_MAX):
        raise ImportError(f'mmcv {version} is installed, mmseg 1.2.2 accepts mmcv >= {MMCV_MIN}, '
                          f'< {MMCV_MAX}; {MMCV_CHOICES}')
