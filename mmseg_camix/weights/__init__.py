"""Weights of other programs: read safely, renamed, and fitted strictly.

`names` knows how others call the parts of a network, `fitting` puts weights into a module and
refuses what does not fit, `initialiser` makes both available to configs as ``PretrainedBackbone``,
and `published` maps whole checkpoints of released code.
"""

from .fitting import WeightsError, fit, unwrap_weights
from .initialiser import PretrainedBackbone
from .names import NAMINGS, Naming, extract_backbone

__all__ = ['NAMINGS', 'Naming', 'PretrainedBackbone', 'WeightsError', 'extract_backbone', 'fit', 'unwrap_weights']
