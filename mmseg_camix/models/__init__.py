"""Models: importing this registers networks, masks, views, objectives, pseudo-labellers and methods."""

from . import (  # noqa: F401
    anchoring,
    backbones,
    context_mask,
    contrast,
    distillation,
    feature_losses,
    heads,
    hrda,
    masks,
    mic,
    objectives,
    pseudo_labels,
    views,
)
from .averaged_views import AveragedViews
from .uda import methods  # noqa: F401
from .uda.wrapper import UDASegmentor

__all__ = ['AveragedViews', 'UDASegmentor']
