"""Weights of other programs, read safely, renamed and fitted strictly; checkpoints of another network are refused.

`names` maps the names that other programs give to parts of a network, `fitting` loads weights into a module or refuses
them, `initialiser` makes both available to configs as ``PretrainedBackbone``, `published` converts whole checkpoints of
released code, and `loading` makes mmengine refuse checkpoints that do not fit.
"""

from .fitting import WeightsError, fit, unwrap_weights
from .initialiser import PretrainedBackbone
from .loading import install
from .names import NAMINGS, Naming, extract_backbone

__all__ = ['NAMINGS', 'Naming', 'PretrainedBackbone', 'WeightsError', 'extract_backbone', 'fit', 'install',
           'unwrap_weights']
