"""DAFormer's feature distance, which keeps the encoder close to its ImageNet features on things."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops.feature_distance import majority_cells, masked_feature_distance

from . import adapter
from .objectives import Objective, Weight
from .step import AdaptedModel, Step

# Classes of Cityscapes that ImageNet has too; the others are "stuff".
THINGS = ('traffic light', 'traffic sign', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')


@MODELS.register_module()
class FeatureDistance(Objective):
    """Distance of the student's features from those of a frozen encoder, on things of the source.

    d = ||F_ImageNet(x) - F(x)||_2 over the channels, averaged over the cells whose majority label is a thing class that
    covers at least `min_share` of the cell (DAFormer, Eqs 8 to 10).

    The frozen encoder is a copy of the student's backbone with the weights of its `init_cfg`. They are read whenever a
    training begins, and are not saved in checkpoints.

    Deviations:
        Released code: a batch without any such cell gives NaN. Ours: 0 with gradient 0.

    Args:
        view: the view on which features are compared.
        weight: factor of the loss.
        encoder: config of another frozen encoder with the same features; None copies the backbone.
        things: names of the thing classes; those that the data set lacks are ignored. None takes all classes.
        min_share: least share of a cell that its majority class covers.
        index: which of the backbone's maps is compared.
    """

    needs_logits = False
    classes: Tensor | None

    def __init__(self, view: str = 'source', weight: Weight = 0.005, encoder: dict[str, Any] | None = None,
                 things: Sequence[str] | None = THINGS, min_share: float = 0.75, index: int = -1) -> None:
        super().__init__(view, weight)
        if not 0 <= min_share <= 1:
            raise ValueError(f'min_share={min_share} must lie in [0, 1]')
        self.encoder_cfg, self.min_share, self.index = encoder, min_share, index
        self.things = None if things is None else tuple(things)
        # In a list, so that it is not a submodule: not saved, not trained, not counted.
        self._encoder: list[Any] = []
        self.register_buffer('classes', None, persistent=False)

    def bind(self, model: AdaptedModel) -> None:
        """Build the frozen encoder."""
        if getattr(model.student, 'with_neck', False):
            raise ValueError('feature distance compares the maps of the backbone, but this segmentor has a neck '
                             'between them and its head; remove the neck or this objective')
        backbone = copy.deepcopy(model.student.backbone) if self.encoder_cfg is None else MODELS.build(self.encoder_cfg)
        if self.index in getattr(backbone, 'fresh_maps', ()):
            raise ValueError(f'feature distance: map {self.index} of {type(backbone).__name__} comes from layers that '
                             'start at random, so that a distance to it is useless; choose another index, or remove '
                             'this objective (None)')
        self._encoder = [backbone.requires_grad_(False)]
        self.num_classes = model.num_classes

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Find the thing classes, and initialise the encoder."""
        self.classes = self._thing_mask(metainfo.get('classes')).to(self._device())
        encoder = self._encoder[0]
        if not (getattr(encoder, 'init_cfg', None) or getattr(encoder, 'pretrained', None)):
            print_log(f'feature distance: the encoder {type(encoder).__name__} has no pretrained weights (init_cfg), '
                      'so the student is held near random features', 'current', logging.WARNING)
        with torch.random.fork_rng(devices=[]):
            encoder.init_weights()
        encoder.requires_grad_(False)
        encoder.train(False)  # permanently, because model.train() does not reach it

    def _device(self) -> torch.device:
        device: torch.device = next(self._encoder[0].parameters()).device
        return device

    def _thing_mask(self, names: Sequence[str] | None) -> Tensor:
        """(C,) bool, True for thing classes."""
        if self.things is None:
            return torch.ones(self.num_classes, dtype=torch.bool)
        if names is None or not set(self.things) & set(names):
            raise ValueError(f'feature distance: none of the things ({", ".join(self.things)}) is a class of the '
                             f'data set ({", ".join(names or ("unknown",))}). Name its things in the config, '
                             f'model = dict(objectives=dict({self.name}=dict(things=[...]))); things=None takes all '
                             f'classes, and {self.name}=None removes the objective')
        return torch.tensor([name in self.things for name in names])

    def forward(self, step: Step, student: nn.Module) -> dict[str, Tensor]:
        if self.classes is None:
            raise RuntimeError('feature distance has no class names yet; UDAHook sets them before training, '
                               'outside a Runner call `model.prepare(dataset.metainfo)`')
        view = step.views[self.view]
        features = step.passes[self.view].features[self.index]
        reference = self._frozen_features(view.image)[self.index]
        size = (features.shape[2], features.shape[3])
        mask = majority_cells(view.target.label, self.classes, size, self.min_share)
        step.statistics['features/things'] = mask.float().mean()
        distance = masked_feature_distance(features, reference, mask, step.processes.average)
        return dict(loss_distance=distance * self.weight_at(step))

    @torch.no_grad()
    def _frozen_features(self, image: Tensor) -> adapter.Features:
        encoder = self._encoder[0]
        if self._device() != image.device:
            encoder.to(image.device)
        if self.classes is not None and self.classes.device != image.device:
            self.classes = self.classes.to(image.device)
        return encoder(image)
