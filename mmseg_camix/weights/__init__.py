"""Weights of other programs: read safely, renamed, and fitted strictly.

`names` knows how others call the parts of a network, `fitting` puts weights into a module and
refuses what does not fit, `initialiser` makes both available to configs as ``PretrainedBackbone``,
and `published` maps whole checkpoints of released code.
"""

from .fitting import WeightsError, fit, unwrapped_weights
from .initialiser import PretrainedBackbone
from .names import NAMINGS, Naming, backbone_weights

__all__ = ['NAMINGS', 'Naming', 'PretrainedBackbone', 'WeightsError', 'backbone_weights', 'fit', 'unwrapped_weights']
