"""Distillation: the student's features stay close to those of a frozen foundation model (VFM-UDA++)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from mmseg_camix.ops.feature_distance import distillation_distance

from . import adapter
from .building import choices
from .feature_losses import FeatureDistance
from .objectives import Weight
from .step import AdaptedModel, Step
from .views import Augmented

PROBE = 64


@MODELS.register_module()
class FeatureDistillation(FeatureDistance):
    """Distance of projected student features from those of a frozen encoder, everywhere in source and target images.

    d = 0.1 smooth L1(h(F(x')), F_frozen(x)) + 0.9 (1 - cos(h(F(x')), F_frozen(x))), mean over the cells of the frozen
    encoder's map; h is a small head (1x1 convolution to four times the channels, norm, GELU, 1x1 convolution) that
    tests drop. x is the image as the data set delivers it, x' the student's view of it.

    The frozen encoder is not saved in checkpoints; as in :class:`FeatureDistance` its weights are read whenever a
    training begins.

    Reference: Englert and Dubbelman, VFM-UDA++, ICCV workshops 2025, and its released code.

    Args:
        view: a branch of the data set, or an :class:`Augmented` view of one.
        other: another one, with the same head; None for none.
        weight: factor of the loss on each of the two.
        encoder: config of the frozen encoder, whose last map is compared; None copies the student's backbone.
        index: the student's map that is compared.
        size: side in pixels to which images are resized for the frozen encoder; None leaves them.
    """

    def __init__(self, view: str = 'source', other: str | None = 'target', weight: Weight = 0.1,
                 encoder: dict[str, Any] | None = None, index: int = -1, size: int | None = None) -> None:
        super().__init__(view, weight, encoder, things=None, index=index)
        if size is not None and size < 1:
            raise ValueError(f'size={size} must be at least 1 pixel')
        self.other, self.size = other, size
        self.branches: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.view,) if self.other is None else (self.view, self.other)

    def bind(self, model: AdaptedModel) -> None:
        """Build the frozen encoder and the head."""
        super().bind(model)
        self.branches = tuple(origin_of(name, model.views) for name in self.reads)
        channels, _ = adapter.feature_shape(model.student, model.crop_size, self.index)
        with torch.no_grad():
            probe = torch.zeros(1, 3, PROBE, PROBE)
            frozen = adapter.feature_map(self._encoder[0].eval()(probe), self._frozen_index())
        self.head = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), LayerNorm2d(4 * channels), nn.GELU(),
                                  nn.Conv2d(4 * channels, frozen.shape[1], 1))

    def _frozen_index(self) -> int:
        return self.index if self.encoder_cfg is None else -1

    def forward(self, step: Step, student: nn.Module) -> dict[str, Tensor]:
        losses = {}
        for name, branch in zip(self.reads, self.branches):
            image = step.images[branch]
            if self.size is not None:
                image = F.interpolate(image, (self.size, self.size), mode='bilinear', align_corners=False)
            reference = adapter.feature_map(self._frozen_features(image), self._frozen_index())
            features = self.head(adapter.feature_map(step.passes[name].features, self.index))
            features = F.interpolate(features, reference.shape[2:], mode='bilinear', align_corners=False)
            losses[f'loss_{name}'] = distillation_distance(features, reference).mean() * self.weight_at(step)
        return losses


def origin_of(name: str, views: Mapping[str, Any]) -> str:
    """The branch of which a view is an augmentation."""
    while name in views:
        if not isinstance(views[name], Augmented):
            valid = [other for other, view in views.items() if isinstance(view, Augmented)]
            raise ValueError(f"'{name}' is no augmentation of one image; give a branch of the data set or a view of "
                             f'type Augmented{choices(name, valid)}')
        name = views[name].reads[0]
    return name
