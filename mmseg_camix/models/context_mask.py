"""CAMix's contextual mask."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS
from torch import Tensor

from mmseg_camix.ops import context as ops
from mmseg_camix.ops.losses import upsample
from mmseg_camix.ops.prior import crop_prior
from mmseg_camix.spatial_prior import load_spatial_prior, refuse_other_aspect

from .crop_places import crop_places
from .masks import Mask
from .step import Step

DRAWS = ('modulated', 'own')

@TRANSFORMS.register_module()
class ContextMask(Mask):
    """Half of the classes that the teacher predicts, and their relatives (CAMix, Algorithm 1, Eq. 1).

    Y~ = argmax(Q P): the teacher's prediction times the class distribution of the source at this place; half of the
    classes present in Y~ are drawn, and their meta-class relatives that are present are added; the mask is their pixels
    in Y~.

    Deviations:
        Released code: Q is only loaded, and a flip is not followed; group II goes one way (rider pulls bicycle and
        motorcycle). Ours: Q is built by mmseg-camix prior and follows the target's crop and flip;
        groups go both ways as in Table I (``groups=['I', 'II-one-way']`` is the code's).

    Args:
        of: 'target', the branch that the teacher predicts.
        prior: file of the spatial prior Q; None omits it.
        groups: names of Table I's groups ('I' to 'V'), tuples of class names, or mappings from a class to those that it
            adds; 'auto' derives the relations from the source labels counted in the prior's file; None omits relations.
        ratio: share of the present classes to draw.
        smooth: Gaussian blur of the prior's counts, in pixels of the source; None takes the file's.
        epsilon: least probability of a class in the prior; None takes the file's.
        agreeing: omit the pixels at which the prior has overruled the teacher. As published they are pasted, chosen as
            one class but labelled as another, because the pasted label is the teacher's own (Eq. 4): a strip of road
            that the teacher takes for a car is pasted with every road, and the student learns it in its context.
            docs/benchmark.md shows the cost.
        below: the prior acts only where the teacher's largest probability is below this; None: everywhere, as
            published.
        draw: which classes are drawn from: those present in the 'modulated' prediction, as published, or in the
            teacher's 'own', which has more.
    """

    prior: Tensor | None
    relations: Tensor | None
    _device_marker: Tensor

    def __init__(self, of: str = 'target', prior: str | None = None,
                 groups: Sequence[Any] | str | None = ('I', 'II'), ratio: float = 0.5,
                 smooth: float | None = None, epsilon: float | None = None, agreeing: bool = False,
                 below: float | None = None, draw: str = 'modulated') -> None:
        super().__init__(of)
        if of != 'target':
            raise ValueError(f"of='{of}' must be 'target': the mask is cut from the teacher's prediction, which "
                             'exists for the target only')
        if groups == 'auto' and prior is None:
            raise ValueError("groups='auto' reads the relations from the file of the prior; give prior=FILE")
        if isinstance(groups, str) and groups != 'auto':
            raise ValueError(f"groups='{groups}' must be a list such as ['I', 'II'], or 'auto', or None")
        if not 0 <= ratio <= 1:
            raise ValueError(f'ratio={ratio} must lie in [0, 1]')
        if below is not None and not 0 < below <= 1:
            raise ValueError(f'below={below} must lie in (0, 1]; it is a probability')
        if draw not in DRAWS:
            raise ValueError(f"draw='{draw}' must be one of {', '.join(DRAWS)}")
        self.below, self.draw = below, draw
        self.prior_file, self.groups, self.ratio = prior, groups, ratio
        self.smooth, self.epsilon, self.agreeing = smooth, epsilon, agreeing
        # They follow from files and class names, so they are not saved in checkpoints.
        self.register_buffer('prior', None, persistent=False)
        self.register_buffer('relations', None, persistent=False)
        # Moves with the model, so that its device is available before there is a prior.
        self.register_buffer('_device_marker', torch.empty(0), persistent=False)
        self._prior_size: tuple[int, int] | None = None
        self._accepted_shapes: set[tuple[int, ...]] = set()
        self._ready = False

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Load the prior, and resolve the groups' class names."""
        classes = metainfo.get('classes')
        if classes is None:
            raise ValueError('ContextMask needs the class names, but the training data set has no '
                             "metainfo['classes']")
        relations = None
        if self.prior_file is not None:
            prior = load_spatial_prior(self.prior_file, classes)
            self.prior = prior.probabilities(self.smooth, self.epsilon).to(self._device_marker.device)
            self._prior_size = prior.size
            relations = prior.relations() if self.groups == 'auto' else None
        if self.groups and not isinstance(self.groups, str):
            relations = ops.relation_matrix(self.groups, classes)
            if not relations.any():
                print_log(f'ContextMask: groups={list(self.groups)} name no two of the classes {", ".join(classes)}: '
                          "no class adds another; give groups of these, or groups='auto', or None",
                          'current', logging.WARNING)
        self.relations = None if relations is None else relations.to(self._device_marker.device)
        self._ready = True

    def forward(self, step: Step) -> Tensor:
        if not self._ready:
            raise RuntimeError('ContextMask has no class names yet; UDAHook sets them before training, '
                               'outside a Runner call `model.prepare(dataset.metainfo)`')
        assert step.teacher_logits is not None
        image = step.views[self.of].image
        probs = upsample(step.teacher_logits, (image.shape[2], image.shape[3]), step.align_corners).softmax(1)
        prior = None if self.prior is None else self._cropped_prior(step, probs)
        region: Tensor
        region, step.context_label = ops.contextual_mask(
            probs, prior, self.relations, step.generator, self.ratio, self.agreeing, step.valid_mask(self.of, image),
            self.below, self.draw)
        return region

    def _cropped_prior(self, step: Step, probs: Tensor) -> Tensor:
        """The prior where each sample's crop lies, (B, C, H, W)."""
        samples, size = step.samples[self.of], (probs.shape[2], probs.shape[3])
        boxes, flips = crop_places(samples, size, probs.device, 'the spatial prior')
        for sample in samples:
            self._check_aspect(tuple(sample.metainfo['resized_shape']))
        assert self.prior is not None
        return crop_prior(self.prior, boxes, flips, size)

    def _check_aspect(self, shape: tuple[int, ...]) -> None:
        """Compare each new (height, width) of a resized image with the prior's."""
        if shape not in self._accepted_shapes and self.prior_file is not None and self._prior_size is not None:
            refuse_other_aspect(self.prior_file, self._prior_size, shape[1] / shape[0])
            self._accepted_shapes.add(shape)
