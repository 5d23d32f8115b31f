"""Models: importing this registers networks, masks, views, objectives, pseudo-labellers and methods."""

from . import backbones, context_mask, contrast, heads, masks, objectives, pseudo_labels, views  # noqa: F401
from .uda.methods import *  # noqa: F401,F403
from .uda.wrapper import UDASegmentor

__all__ = ['UDASegmentor']
