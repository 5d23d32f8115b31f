"""Patches that mmseg and mmengine need to work with current torch and with mmcv-lite.

`prepare()` runs when `mmseg_camix` is imported, before anything of mmseg is. It checks what is installed, silences
known warnings, and lets `mmcv.ops` be imported without compiled ops. Each step may run any number of times.
"""

import importlib
import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

# Module -> the editions that install it, each with how it is installed. Two at once overwrite each other's files.
EDITIONS = {
    'mmengine': {'mmengine': 'mmengine==0.10.7', 'onedl-mmengine': 'onedl-mmengine'},
    'mmseg': {'mmsegmentation': 'mmsegmentation==1.2.2', 'onedl-mmsegmentation': 'onedl-mmsegmentation'},
    'mmcv': {'mmcv-lite': 'mmcv-lite==2.1.0', 'mmcv': 'mmcv==2.1.0', 'onedl-mmcv': 'onedl-mmcv'},
}
# The versions that mmseg 1.2.2 asserts; checked here first, because its own message omits the maximum.
MMCV_MIN, MMCV_MAX = '2.0.0rc4', '2.2.0'
TORCH_MIN = '2.4'
EXTENSION = 'mmcv._ext'
# Warnings of mmengine's and mmseg's own code that no user can act on, each by its exact text: new ones are shown.
KNOWN_WARNINGS = (
    ('pkg_resources is deprecated as an API', UserWarning),  # mmengine resolves `_base_ = 'mmseg::...'` through it
    ('``build_loss`` would be deprecated soon', UserWarning),  # mmseg's own decode heads call it
    (r'`torch\.cuda\.amp\.(GradScaler|autocast)', FutureWarning),  # mmengine's AmpOptimWrapper and autocast
)


def prepare() -> None:
    """Prepare the environment for `import mmseg`; may be called any number of times."""
    check_requirements()
    silence_known_warnings()
    import_mmcv_ops()
    import_mmseg_datasets()


def check_requirements() -> None:
    """Raise ImportError, in one line with the remedy, if a package is missing, too old, or there in two editions."""
    _check_torch()
    for module in EDITIONS:
        _check_editions(module)
    _check_mmcv()
    # mmseg imports both (its text encoders need them) without declaring them.
    missing = [name for name in ('ftfy', 'regex') if find_spec(name) is None]
    if missing:
        names = ' '.join(missing)
        raise ImportError(f'mmseg needs the missing {names} without declaring it: pip install {names}')


def _check_torch() -> None:
    if find_spec('torch') is None:
        raise ImportError('PyTorch is not installed: pip install torch torchvision')
    version = importlib.import_module('torch').__version__
    if _numbers(version) < _numbers(TORCH_MIN):
        raise ImportError(f'torch {version} is installed, mmseg_camix needs {TORCH_MIN} or later: '
                          'pip install --upgrade torch torchvision')


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split('.')[:2])


def _check_editions(module: str) -> None:
    editions = EDITIONS[module]
    installed = [name for name in editions if is_installed(name)]
    if len(installed) > 1:
        raise ImportError(f'{" and ".join(installed)} are both installed and overwrite each other: `pip uninstall -y '
                          f'{" ".join(installed)}`, then `pip install` one of them ({editions[installed[0]]})')
    if find_spec(module) is None:
        lines = {name.startswith('onedl-') for names in EDITIONS.values() for name in names if is_installed(name)}
        commands = [_install_command(onedl, module) for onedl in sorted(lines)] or [
            f'{_install_command(False)} (the last releases of OpenMMLab)', f'{_install_command(True)} (maintained)']
        raise ImportError(f'{module} is not installed: {", or ".join(commands)}')


def _install_command(onedl: bool, *modules: str) -> str:
    """The command that installs the editions of one line, of these modules or of all."""
    editions = [next(text for name, text in EDITIONS[module].items() if name.startswith('onedl-') == onedl)
                for module in modules or EDITIONS]
    return f'pip install {" ".join(editions)}'


def is_installed(name: str) -> bool:
    """Whether a distribution of this name is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _check_mmcv() -> None:
    mmcv = importlib.import_module('mmcv')
    version = getattr(mmcv, '__version__', None)
    if version is None:
        # What uninstalling one edition leaves of the other: a folder without an __init__.py.
        raise ImportError('mmcv is damaged: its folder is there, its code is not. Remove the folder, then '
                          'install it: pip install --force-reinstall mmcv-lite==2.1.0')
    if is_installed('onedl-mmsegmentation'):
        return
    from mmengine.utils import digit_version
    if not digit_version(MMCV_MIN) <= digit_version(version) < digit_version(MMCV_MAX):
        raise ImportError(f'mmcv {version} is installed, mmseg 1.2.2 accepts mmcv >= {MMCV_MIN}, < {MMCV_MAX}: '
                          'pip install mmcv-lite==2.1.0')


def silence_known_warnings() -> None:
    """Add one filter for each known warning (adding it again changes nothing)."""
    for text, category in KNOWN_WARNINGS:
        warnings.filterwarnings('ignore', message=text, category=category)
    with warnings.catch_warnings(record=True):  # torch 2.4 and 2.5 warn in spite of any filter when mmengine imports it
        importlib.import_module('torch.distributed.optim')


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
    """Import `mmcv.ops`, compiled or not; does nothing if that has happened.

    mmseg imports `mmcv.ops` for a few heads that most configs never build, and `mmcv.ops` looks up its compiled
    functions in `mmcv._ext` while it is imported. The stand-in for `mmcv._ext` is removed afterwards, so that
    `mmengine.utils.dl_utils.mmcv_full_available` (for the choice of SyncBatchNorm) still returns False.
    """
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


def import_mmseg_datasets() -> None:
    """Import `mmseg.datasets` without the line that onedl-mmsegmentation prints about a client that it did not find.

    It would be part of what a command prints, for example of a config.
    """
    if is_installed('onedl-mmsegmentation'):
        with redirect_stdout(io.StringIO()):
            importlib.import_module('mmseg.datasets')


def _import_compiled() -> None:
    try:
        importlib.import_module('mmcv.ops')
    except ImportError as error:
        raise ImportError(
            f"mmcv's compiled ops do not load ({error}). They were most likely built for another "
            'torch: build mmcv again for this one, or replace it by mmcv-lite==2.1.0') from error
