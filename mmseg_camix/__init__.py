"""Unsupervised domain adaptation by mixing, for MMSegmentation 1.x.

Importing this package registers everything that it has into mmseg's registries:
`custom_imports = dict(imports=['mmseg_camix'])` in a config is all that an mmseg project needs.
"""
from . import compat
from .version import __version__

# First of all, because the packages below import mmengine and mmseg, which need these preparations.
compat.prepare()

from . import cache, checkpoint, datasets, engine, evaluation, models, selection, weights  # noqa: E402
from .engine import keeping  # noqa: E402
from .package_configs import install as install_config_names  # noqa: E402

# Replace mmengine's reading, loading, writing and keeping of checkpoints, and its resolving of `mmseg_camix::`.
checkpoint.install()
weights.install()
keeping.install()
install_config_names()

__all__ = ['__version__', 'cache', 'checkpoint', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'selection',
           'weights']
