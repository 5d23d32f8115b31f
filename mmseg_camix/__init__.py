"""Unsupervised domain adaptation by mixing, for MMSegmentation 1.x.

Importing this package registers everything that it has into mmseg's registries:
`custom_imports = dict(imports=['mmseg_camix'])` in a config is all that an mmseg project needs.
"""
from . import compat
from .version import __version__

# First of all, for the sub-packages below import mmseg, which needs these preparations.
compat.prepare()

from . import cache, datasets, engine, evaluation, models, weights  # noqa: E402

__all__ = ['__version__', 'cache', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'weights']
