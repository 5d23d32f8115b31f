"""Names of the package's own configs: ``mmseg_camix::camix/gta2cs_daformer.py``, in ``_base_`` and on command lines.

mmengine resolves ``package::path`` for OpenMMLab's packages alone, and not for editable installations.
"""

from functools import cache, wraps
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from .cli import did_you_mean
from .compat import is_installed

PREFIX = 'mmseg_camix::'
FOLDER = Path(__file__).parent / '.mim/configs'


class NoSuchConfigError(ValueError):
    """The package has no config of this name; the message lists where to look."""


def resolve(name: str) -> str:
    """Return the path of a config named ``mmseg_camix::PATH``; other names are returned unchanged."""
    name = str(name)
    if not name.startswith(PREFIX):
        return name
    path = name.removeprefix(PREFIX)
    if not (FOLDER / path).is_file():
        paths = {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob('*.py')}
        raise NoSuchConfigError(f'there is no config {name}' + (did_you_mean(path, paths) or f'; they are in {FOLDER}'))
    return str(FOLDER / path)


@cache
def install() -> None:
    """Make mmengine resolve names of our configs, as if they were given as paths; once."""
    stock = Config._get_cfg_path

    @wraps(stock)
    def get_path(base: str, filename: str) -> tuple[str, str | None]:
        return (resolve(base), None) if base.startswith(PREFIX) else stock(base, filename)

    Config._get_cfg_path = staticmethod(get_path)
    if is_installed('onedl-mmsegmentation'):  # onedl-mmengine looks for `mmseg::` in the package that it replaces
        MODULE2PACKAGE['mmseg'] = 'onedl-mmsegmentation'
