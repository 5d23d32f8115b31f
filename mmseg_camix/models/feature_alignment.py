"""Alignment of the student's features on two views (DSP, Eqs 8 and 9)."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import mmd as ops

from . import adapter
from .objectives import Objective, Weight
from .step import AdaptedModel, Step

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
        view: the first view.
        other: the second view.
        mask: name of the mask within which features are compared; None compares all.
        weight: factor of the loss (the paper's lambda_feature).
        features: index of the feature map that is compared; None takes the (last) one that the head reads.
        cells: largest number of cells of each image that are compared.
        samples: 'cells' or 'images'.
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
