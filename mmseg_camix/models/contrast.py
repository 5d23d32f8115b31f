"""RCCR's objective: regional contrast between a mixed image and the target image."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_camix.ops import contrast as ops
from mmseg_camix.ops.contrast import EMPTY
from mmseg_camix.ops.losses import upsample

from . import adapter
from .objectives import Objective, Weight
from .step import AdaptedModel, Progress, Step
from .teacher import EMATeacher


class MemoryBank(nn.Module):
    """Embeddings and labels of the last batches, which are part of the checkpoint.

    Its size follows the batches; one of another size empties it. Each process has its own bank (the checkpoint holds
    all of them); with ``global_batch=True`` all have the same, of all their images.
    """

    embeddings: Tensor
    labels: Tensor

    def __init__(self, batches: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('embeddings', torch.zeros(batches, 0, channels))
        self.register_buffer('labels', torch.full((batches, 0), EMPTY))

    def read(self) -> tuple[Tensor, Tensor]:
        """All entries: (batches * M, K) fp32, and (batches * M) long with `EMPTY` in unused places."""
        return self.embeddings.flatten(0, 1), self.labels.flatten()

    @torch.no_grad()
    def push(self, embedding: Tensor, label: Tensor) -> None:
        """Add a batch, (M, K) and (M,) long, and drop the oldest."""
        if len(label) != self.labels.shape[1]:
            self._resize(len(label))
        # New tensors, because the backward pass still needs those that were read.
        self.embeddings = torch.cat([embedding.detach()[None].to(self.embeddings), self.embeddings[:-1]])
        self.labels = torch.cat([label[None].to(self.labels), self.labels[:-1]])

    def _resize(self, size: int) -> None:
        batches, _, channels = self.embeddings.shape
        self.embeddings = self.embeddings.new_zeros(batches, size, channels)
        self.labels = self.labels.new_full((batches, size), EMPTY)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(f'{prefix}labels')
        if saved is not None:
            self._resize(saved.shape[-1])
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


POOLS = ('image', 'batch')


@MODELS.register_module()
class RegionContrast(Objective):
    """Pulls a cell of the mixed image to the same cell of the target image, and away from others.

    InfoNCE between projections of the student's features on a view into which the target was pasted, and of the
    teacher's features on the target itself (RCCR, Eqs 4 to 8). The projector and its exponential moving average belong
    to this objective: they are in the checkpoint (``objectives.<name>.projector``) and never in an exported segmentor.
    A separate learning rate: ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=10))))``.

    Deviations:
        Negatives: paper: of the image and its mixture. Released code: of the whole batch (``pool='batch'``), drawn
        separately for each map. Neither carries a gradient, or it is not stated; ours: none (``detach_negatives=False``
        lets it flow). The random half is drawn once per image and serves all its anchors, as in the code.
        Bank: paper: the last three batches. Released code: this one and the two before (``bank=2``).
        Ours: three before this one. Of a batch, the half that was drawn is kept, as in the code. A void cell is a
        negative of every class, as in the code.
        Mean: paper 1/s^2 (``normalise='overlap'``), the code over positives, which is ours.
        Start: on GTA the code would begin after the end of the training (``begin=300000``), and its projector is not
        passed to the optimiser. Ours: from the first iteration, trained.

    Args:
        view: a view of type ``Paste`` that pastes the target.
        weight: mu; a number or a schedule of the iteration.
        begin: first iteration at which it is computed.
        features: which of the backbone's (or neck's) maps; None takes the last one that the decode head reads.
        hidden: channels between the projector's two layers; None takes as many as the features have.
        channels: length of the embeddings.
        temperature: tau.
        confidence: a positive counts if the teacher's largest probability exceeds it; None counts all (no PS).
        negative_ratio: share of the cells of both maps that are drawn; 1 takes all (no NS(R)).
        filter_class: omit negatives of the anchor's class; False keeps them (no NS(C)).
        bank: number of earlier batches whose negatives are kept; 0 is none (no MB).
        pool: whether negatives are drawn from the same 'image' or the whole 'batch'.
        detach_negatives: no gradient through this step's negatives.
        normalise: 'positives' or 'overlap'.
        at_once: largest number of similarities in memory at a time.
    """

    needs_logits = False
    needs_teacher_features = True

    def __init__(self, view: str = 'cut', weight: Weight = 0.01, begin: int = 0,
                 features: int | None = None, hidden: int | None = None, channels: int = 128,
                 temperature: float = 0.1, confidence: float | None = 0.75, negative_ratio: float = 0.5,
                 filter_class: bool = True, bank: int = 3, pool: str = 'image', detach_negatives: bool = True,
                 normalise: str = 'positives', at_once: int = 2**24) -> None:
        super().__init__(view, weight)
        for name, value, valid in (('pool', pool, POOLS), ('normalise', normalise, ops.NORMALISERS)):
            if value not in valid:
                raise ValueError(f"{name}='{value}' must be one of {', '.join(valid)}")
        if not 0 <= negative_ratio <= 1 or temperature <= 0 or bank < 0:
            raise ValueError(f'negative_ratio={negative_ratio} must lie in [0, 1], temperature={temperature} '
                             f'above 0, bank={bank} at 0 or above')
        self.begin, self.features, self.hidden, self.channels = begin, features, hidden, channels
        self.temperature, self.confidence, self.negative_ratio = temperature, confidence, negative_ratio
        self.filter_class, self.pool, self.detach_negatives = filter_class, pool, detach_negatives
        self.normalise, self.at_once = normalise, at_once
        self.bank = MemoryBank(bank, channels) if bank else None

    def bind(self, model: AdaptedModel) -> None:
        """Check the view, and build the projector for the student's features."""
        view = dict(model.views).get(self.view)
        if view is None or getattr(view, 'donor', None) != 'target' or view.mask is None or model.teacher is None:
            raise ValueError(f"view '{self.view}' must paste the target, e.g. "
                             "dict(type='Paste', donor='target', over='source', mask='square'): the contrast "
                             "compares both networks' features of the pasted region")
        if model.global_batch and self.pool == 'batch' and not self.detach_negatives:
            raise ValueError("global_batch=True sends no gradient to other processes: with pool='batch' it needs "
                             'detach_negatives=True')
        self.mask = view.mask
        if self.features is None:
            self.features = adapter.head_input(model.student)
        shape = adapter.feature_shape(model.student, model.crop_size, self.features)
        self.build_projector(*shape, model.teacher.alpha)

    def build_projector(self, width: int, stride: int, alpha: float) -> None:
        """Build the projector for features of ``width`` channels at ``stride``, and its moving average."""
        self.width, self.stride = width, stride
        hidden = self.hidden or width
        self.projector = nn.Sequential(
            nn.Conv2d(width, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, self.channels, 1))
        self.twin = EMATeacher(self.projector, alpha)

    def active(self, progress: Progress) -> bool:
        return progress.iteration >= self.begin

    def after_step(self) -> None:
        """Move the projector's average, as the teacher follows the student."""
        self.twin.update(self.projector)

    def forward(self, step: Step, student: nn.Module) -> dict[str, Tensor]:
        features = self._map(step.passes[self.view].features)
        anchor = ops.unit_embeddings(self.projector(features))
        size = (features.shape[2], features.shape[3])
        mask = step.masks[self.mask or '']
        with torch.no_grad():
            positive = ops.unit_embeddings(self.twin.model(self._map(step.teacher_features)))
            label, target_label = (self._cells(step.views[name].target.label, size) for name in (self.view, 'target'))
            weight = ops.anchor_weights(self._cells(mask[:, 0], size),
                                        self._trusted(step, size), self.normalise, step.processes.average)
        drawn = ops.draw_negatives(anchor.detach() if self.detach_negatives else anchor, positive,
                                   label, target_label, self.negative_ratio, step.generator)
        gather = step.processes.gather
        negatives = ops.pool_negatives(drawn, gather, step.processes.rank) if self.pool == 'batch' else drawn
        if self.bank is not None:
            negatives = ops.add_bank(negatives, *self.bank.read())
            self.bank.push(*(gather(part).flatten(0, 1) for part in drawn[:2]))
        loss = ops.region_contrast(anchor, positive, label, negatives, weight, self.temperature,
                                   self.filter_class, self.at_once)
        step.statistics['contrast/anchors'] = (weight > 0).float().mean()
        return dict(loss_contrast=loss * self.weight_at(step))

    def _map(self, features: adapter.Features) -> Tensor:
        index = -1 if self.features is None else self.features
        selected = adapter.feature_map(features, index)
        if selected.shape[1] != self.width:
            raise ValueError(f'features={index} has {selected.shape[1]} channels in training, but {self.width} in '
                             'testing; choose another map of the backbone (or neck)')
        return selected

    def _cells(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        assert self.stride is not None
        return ops.sample_cells(values, size, self.stride)

    def _trusted(self, step: Step, size: tuple[int, int]) -> Tensor | None:
        """(B, h * w) bool, True where the teacher is confident, and not on padding; None if all cells count."""
        valid = step.valid_mask('target', step.images['target'])
        inside = None if valid is None else self._cells(valid, size)
        if self.confidence is None:
            return inside
        assert step.teacher_logits is not None
        probs = upsample(step.teacher_logits, size, step.align_corners).softmax(1)
        confident = (probs.amax(1) > self.confidence).flatten(1)
        return confident if inside is None else confident & inside
