"""Objectives on features: DSP's alignment of two views (Eqs 8 and 9), and DAFormer's distance to ImageNet features."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import mmd as ops
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
        features = adapter.feature_map(step.passes[self.view].features, self.index)
        reference = self._frozen_features(adapter.context_image(student, view.image))[self.index]
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


SAMPLES = ('cells', 'images')


@MODELS.register_module()
class FeatureMMD(Objective):
    """Squared maximum mean discrepancy between the student's features of two views, within a mask.

    With DSP's patch as the mask it is L_paste (Eq. 8), without a mask L_global (Eq. 9). The kernel is a sum of
    Gaussians, see :func:`mmseg_camix.ops.mmd.mmd`; all of it runs in fp32.

    Deviations:
        Paper: distance of the kernel mean embeddings of the features before the ASPP, with the patch as a mask; nothing
        on what the samples are. Released code: one sample per image, its features averaged over all places
        (``samples='images'``), so that two images a domain are compared; the features are those of an extra 1x1
        convolution that is never trained, and the mask of the first image is used for all (``shared_mask=True``).
        Ours: one sample per cell of the feature map, each image with its own mask and its own embedding, mean over the
        images. Features are those that the head reads. At most ``cells`` random cells of each image are compared, those
        of the mask first, because a full map would need gigabytes. The mask is resized to the features by nearest
        neighbour. An image whose mask is empty there adds 0.

    Args:
        other: the second view.
        mask: name of the mask within which features are compared; None compares all.
        weight: the paper's lambda_feature.
        features: index of the feature map that is compared; None takes the (last) one that the head reads.
        cells: largest number of cells of each image that are compared.
        shared_mask: whether the mask of the first image is used for all.
        kernels: number of Gaussians.
    """

    needs_logits = False

    def __init__(self, view: str = 'mixed_source', other: str = 'mixed_target', mask: str | None = None,
                 weight: Weight = 0.005, features: int | None = None, cells: int = 1024,
                 samples: str = 'cells', shared_mask: bool = False, kernels: int = 5) -> None:
        super().__init__(view, weight)
        if samples not in SAMPLES:
            raise ValueError(f"samples='{samples}' must be one of {', '.join(SAMPLES)}")
        if cells < 1 or kernels < 1:
            raise ValueError(f'cells={cells} and kernels={kernels} must be at least 1')
        self.other, self.mask, self.features = other, mask, features
        self.cells, self.samples, self.shared_mask, self.kernels = cells, samples, shared_mask, kernels

    @property
    def reads(self) -> tuple[str, ...]:
        return self.view, self.other

    def bind(self, model: AdaptedModel) -> None:
        """Choose the feature map; raise if the backbone has no map of this index."""
        if self.features is None:
            self.features = adapter.head_input(model.student)
        adapter.feature_shape(model.student, model.crop_size, self.features)

    def forward(self, step: Step, student: nn.Module) -> dict[str, Tensor]:
        index = -1 if self.features is None else self.features
        first, second = (adapter.feature_map(step.passes[name].features, index) for name in self.reads)
        weight = self._weight(step, first)
        distance = self._between_images if self.samples == 'images' else self._between_cells
        return dict(loss_mmd=distance(first, second, weight, step).mean() * self.weight_at(step))

    def _weight(self, step: Step, features: Tensor) -> Tensor:
        """(B, h, w) float, 1 within the mask."""
        if self.mask is None:
            return features.new_ones((len(features), *features.shape[2:]))
        mask = step.masks[self.mask]
        if self.shared_mask:
            mask = mask[:1].expand_as(mask)
        return F.interpolate(mask.float(), size=features.shape[2:], mode='nearest')[:, 0]

    def _between_cells(self, first: Tensor, second: Tensor, weight: Tensor, step: Step) -> Tensor:
        first, second = (maps.flatten(2).transpose(1, 2) for maps in (first, second))
        weight = weight.flatten(1)
        if weight.shape[1] > self.cells:
            index = ops.choose_cells(weight, self.cells, step.generator)
            weight = weight.gather(1, index)
            first, second = (maps.gather(1, index[..., None].expand(-1, -1, maps.shape[2])) for maps in (first, second))
        return ops.mmd(first, second, weight, weight, self.kernels)

    def _between_images(self, first: Tensor, second: Tensor, weight: Tensor, step: Step) -> Tensor:
        processes = step.processes
        first, second = (processes.gather_live(ops.masked_mean(maps, weight))[None] for maps in (first, second))
        weight = processes.gather(weight.amax((1, 2)))[None]
        return ops.mmd(first, second, weight, weight, self.kernels)
