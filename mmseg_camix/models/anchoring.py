"""An objective that keeps the student close to the network with which the training began."""

from collections.abc import Mapping
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops.losses import probability_divergence, upsample

from .distillation import origin_of
from .objectives import Objective, Weight
from .step import AdaptedModel, Step
from .teacher import EMATeacher


@MODELS.register_module()
class InitialDivergence(Objective):
    """Divergence of the student's predictions from those of the network with which the training began.

    KL(p_0(x) || p(x')), mean over the pixels, with p_0 on the target image x as the data set delivers it and the
    student's p on a view x' of it. The initial network is frozen, and part of checkpoints, so that a resumed training
    has the same one; a new training from a checkpoint (``load_from``) begins with the student that it loads.

    Args:
        view: the target, or an :class:`Augmented` or :class:`Masked` view of it.
        weight: factor of the loss.
        norm: 'batch' or 'running', as in :class:`EMATeacher`: whether the frozen network normalises by the statistics
            of the target batch, or by those with which it was trained.
    """

    begun: Tensor

    def __init__(self, view: str, weight: Weight = 0.5, norm: str = 'batch') -> None:
        super().__init__(view, weight)
        self.norm = norm
        self.register_buffer('begun', torch.zeros((), dtype=torch.bool))
        # In a list, so that it is not a second submodule.
        self._student: list[nn.Module] = []

    def bind(self, model: AdaptedModel) -> None:
        """Copy the student; raise unless the view shows the target."""
        if (origin := origin_of(self.view, model.views)) != 'target':
            raise ValueError(f"view='{self.view}' shows '{origin}', but predictions of the target are compared")
        self._student = [model.student]
        self.initial = EMATeacher(model.student, norm=self.norm)

    def restart(self) -> None:
        """Discard the initial network of a loaded training."""
        self.begun.fill_(False)

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Copy the student's weights, unless the initial network was resumed."""
        if not self.begun:
            self.initial.copy_student(self._student[0])
            self.begun.fill_(True)

    def forward(self, step: Step, student: nn.Module) -> dict[str, Tensor]:
        image, total = step.images['target'], torch.zeros(())
        with torch.no_grad():
            reference = upsample(self.initial(image), image.shape[2:], step.align_corners).softmax(1)
        valid = step.valid_mask('target', image)
        weight = torch.ones_like(image[:, 0]) if valid is None else valid.float()
        for output in step.passes[self.view].outputs:
            probs, inside = (value if output.box is None else output.box.crop(value) for value in (reference, weight))
            total = total + output.weight * probability_divergence(output.logits, probs, inside, step.align_corners)
        return dict(loss_kl=total * self.weight_at(step))
