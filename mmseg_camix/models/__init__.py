"""Models: importing this registers networks, masks, views, objectives, pseudo-labellers and methods."""

from . import (  # noqa: F401
    backbones,
    context_mask,
    contrast,
    feature_alignment,
    feature_distance,
    heads,
    masks,
    objectives,
    pseudo_labels,
    views,
)
from .averaged_views import AveragedViews
from .uda.methods import *  # noqa: F401,F403
from .uda.wrapper import UDASegmentor

__all__ = ['AveragedViews', 'UDASegmentor']
