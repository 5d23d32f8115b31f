"""Unsupervised domain adaptation by mixing, for MMSegmentation 1.x.

Importing this package registers everything that it has into mmseg's registries:
`custom_imports = dict(imports=['mmseg_camix'])` in a config is all that an mmseg project needs.
"""
from . import compat
from .version import __version__

# First of all, because the packages below import mmengine and mmseg, which need these preparations.
compat.prepare()

from . import (  # noqa: E402
    cache,
    checkpoint,
    datasets,
    engine,
    evaluation,
    models,
    package_configs,
    selection,
    weights,
)
from .engine import keeping  # noqa: E402

# Replace mmengine's reading, loading, writing and keeping of checkpoints, and its resolving of `mmseg_camix::`.
checkpoint.install()
weights.install()
keeping.install()
package_configs.install()

__all__ = ['__version__', 'cache', 'checkpoint', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'selection',
           'weights']
