"""CAMix's contextual mask."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS
from torch import Tensor

from mmseg_camix.ops import context as ops
from mmseg_camix.ops.losses import upsample
from mmseg_camix.ops.prior import crop_prior
from mmseg_camix.spatial_prior import load_spatial_prior, refuse_other_aspect

from .masks import Mask
from .step import Step


@TRANSFORMS.register_module()
class ContextMask(Mask):
    """Half of the classes that the teacher sees, and their relatives (CAMix, Algorithm 1, Eq. 1).

    Y~ = argmax(Q P): the teacher's prediction times the class distribution that the source has at
    this place; half of the classes present in Y~ are drawn, the meta-class relatives of each that
    are present come along; the mask is their pixels in Y~.

    Deviations:
        Released code: Q is only loaded, and a flip is not followed; group II goes one way (rider
        pulls bicycle and motorcycle). Ours: Q is built by tools/dataset/build_spatial_prior.py and
        moves with the target's crop and flip; groups are closed both ways as Table I reads
        (``groups=['I', 'II-one-way']`` is the code's).

    Args:
        of: 'target', the branch that the teacher sees.
        prior: file of the spatial prior Q; None leaves it out.
        groups: names of Table I's groups ('I' to 'V'), tuples of class names, or mappings from a
            class to those that it pulls; 'auto' derives the relations from the source labels
            counted in the prior's file; None leaves relations out.
        ratio: share of the present classes to draw.
        smooth: Gaussian blur of the prior's counts, in pixels of the source; None takes the file's.
        epsilon: least probability of a class in the prior; None takes the file's.
        agreeing: leave out the pixels at which the prior has overruled the teacher. As published
            they are pasted, chosen as one class and labelled as another, for the pasted label is the
            teacher's own (Eq. 4): a strip of road that it takes for a car comes along with every
            road, and the student learns it in its context. docs/benchmark.md shows what that costs.
    """

    def __init__(self, of: str = 'target', prior: str | None = None,
                 groups: Sequence | str | None = ('I', 'II'), ratio: float = 0.5,
                 smooth: float | None = None, epsilon: float | None = None, agreeing: bool = False) -> None:
        super().__init__(of)
        if of != 'target':
            raise ValueError(f"of='{of}' must be 'target': the mask is cut from the teacher's prediction, and the "
                             'teacher sees the target alone')
        if groups == 'auto' and prior is None:
            raise ValueError("groups='auto' reads the relations from the file of the prior; give prior=FILE")
        if isinstance(groups, str) and groups != 'auto':
            raise ValueError(f"groups='{groups}' must be a list such as ['I', 'II'], or 'auto', or None")
        if not 0 <= ratio <= 1:
            raise ValueError(f'ratio={ratio} must lie in [0, 1]')
        self.prior_file, self.groups, self.ratio = prior, groups, ratio
        self.smooth, self.epsilon, self.agreeing = smooth, epsilon, agreeing
        # Settings that follow from files and class names, not state: never in a checkpoint.
        self.register_buffer('prior', None, persistent=False)
        self.register_buffer('relations', None, persistent=False)
        # Knows the device of the model before there is a prior.
        self.register_buffer('_place', torch.empty(0), persistent=False)
        self._prior_size: tuple[int, int] | None = None
        self._fitting: set[tuple[int, int]] = set()
        self._ready = False

    def prepare(self, metainfo: dict) -> None:
        """Load the prior and name the classes; errors name the file and what it was counted for."""
        classes = metainfo.get('classes')
        if classes is None:
            raise ValueError('ContextMask needs the class names, but the training data set has no '
                             "metainfo['classes']")
        found = None
        if self.prior_file is not None:
            found = load_spatial_prior(self.prior_file, classes)
            self.prior = found.probabilities(self.smooth, self.epsilon).to(self._place.device)
            self._prior_size = found.size
        relations = None
        if self.groups == 'auto':
            relations = found.relations()
        elif self.groups:
            relations = ops.relation_matrix(self.groups, classes)
            if not relations.any():
                print_log(f'ContextMask: groups={list(self.groups)} name no two of the classes {", ".join(classes)}: '
                          "no class brings another; give groups of these, or groups='auto', or None",
                          'current', logging.WARNING)
        self.relations = None if relations is None else relations.to(self._place.device)
        self._ready = True

    def forward(self, step: Step) -> Tensor:
        if not self._ready:
            raise RuntimeError('ContextMask does not know the classes yet; UDAHook tells it before training, '
                               'outside a Runner call `model.prepare(dataset.metainfo)`')
        image = step.views[self.of].image
        probs = upsample(step.teacher_logits, image.shape[2:], step.align_corners).softmax(1)
        prior = None if self.prior is None else self._cropped(step, probs)
        return ops.contextual_mask(probs, prior, self.relations, step.generator, self.ratio, self.agreeing,
                                   step.shown(self.of, image))[0]

    def _cropped(self, step: Step, probs: Tensor) -> Tensor:
        """The prior where each sample's crop lies, (B, C, H, W)."""
        metas = [sample.metainfo for sample in step.samples[self.of]]
        boxes, flips = zip(*(_geometry(meta, tuple(probs.shape[2:])) for meta in metas))
        for meta in metas:
            self._check_aspect(tuple(meta['resized_shape']))
        boxes, flips = torch.tensor(boxes), torch.tensor(flips)
        if probs.is_cuda:  # a copy from pinned memory does not wait for the device
            boxes, flips = boxes.pin_memory(), flips.pin_memory()
        return crop_prior(self.prior, boxes.to(probs.device, non_blocking=True),
                          flips.to(probs.device, non_blocking=True), tuple(probs.shape[2:]))

    def _check_aspect(self, shape: tuple[int, int]) -> None:
        """Each (height, width) of a resized image is compared once, when it is met."""
        if shape not in self._fitting:
            refuse_other_aspect(self.prior_file, self._prior_size, shape[1] / shape[0])
            self._fitting.add(shape)


def _geometry(meta: dict, size: tuple[int, int]) -> tuple[tuple[float, float, float, float], bool]:
    """What the sample shows as shares of the resized image, and whether it was flipped.

    An image that is smaller than the crop was padded to ``size`` (height, width) at the right and at
    the bottom, after the flip: the box grows by as much, past the border of the image.
    """
    if 'crop_box' not in meta or 'resized_shape' not in meta:
        raise KeyError(f'{meta.get("img_path")}: the spatial prior needs the place of the crop; use '
                       'RecordedRandomCrop and PackUDAInputs in the target pipeline')
    flip = bool(meta.get('flip', False))
    if flip and meta.get('flip_direction') != 'horizontal':
        raise ValueError(f'{meta.get("img_path")}: a spatial prior cannot follow a {meta.get("flip_direction")} flip; '
                         "use dict(type='RandomFlip', prob=0.5), which flips horizontally")
    height, width = meta['resized_shape']
    left, top, right, bottom = meta['crop_box']
    shown = meta.get('img_shape', size)
    bottom = top + (bottom - top) * size[0] / shown[0]
    whole = (right - left) * size[1] / shown[1]
    left, right = (right - whole, right) if flip else (left, left + whole)
    return (left / width, top / height, right / width, bottom / height), flip
