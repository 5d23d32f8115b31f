"""Views: the images for the student, with their targets.

A view reads branches of the data set (``source``, ``target``, ...) or other views. Image, label and weight move
together, so they always match.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from mmseg.registry import TRANSFORMS
from torch import Tensor, nn

from mmseg_camix.ops.augment import StrongAugment
from mmseg_camix.ops.paste import paste

from .building import construct
from .step import AdaptedModel, Progress, Step, Target, View


class ViewBuilder(nn.Module):
    """Base of all views: ``forward(step)`` returns a :class:`View`.

    Attributes:
        reads: names of the branches and views that it reads.
        mask: name of the mask that it uses, or None.
        augment: whether the strong augmentation is applied to the result.
    """

    reads: tuple[str, ...] = ()
    mask: str | None = None
    augment: bool = False

    def reads_at(self, progress: Progress) -> tuple[str, ...]:
        """Names of what it reads at this point of the training."""
        return self.reads

    def bind(self, model: AdaptedModel) -> None:
        """Check what depends on the model; called once, when the model is built."""

    def forward(self, step: Step) -> View:
        raise NotImplementedError

    def augmentation(self) -> StrongAugment | None:
        """The view's own strong augmentation; None for that of the model."""
        return None

    def finish(self, view: View, step: Step) -> View:
        """The view, after the strong augmentation if there is one."""
        return view


@TRANSFORMS.register_module()
class Paste(ViewBuilder):
    """Pixels of ``donor`` within ``mask`` over ``over``: image, label, weight and significance.

    DACS pastes the source over the target; iDACS is the same with the two exchanged.

    Args:
        donor: where the pasted pixels come from.
        over: the image on which they are pasted.
        mask: the region of the donor, by its name in the table of masks.
        opacity: 1 pastes hard. Below 1 the images blend within the mask, and the view has both labels as targets: the
            donor's with weight ``opacity`` and the recipient's with the rest.
        augment: whether the strong augmentation is applied to the result.
        recipient_term: where a soft paste also has the recipient's labels: True within the mask, as above. Otherwise
            its first target is that of a hard paste, everywhere with weight ``opacity`` (the released DSP), to which
            'everywhere' adds the recipient's labels with the rest of the weight, and False does not.
        keep_weight: whether the pasted pixels keep the weight of those below. Of several targets of the recipient only
            the first then takes the donor's labels (the released DSP, for the long-tail class).
    """

    def __init__(self, donor: str, over: str, mask: str, opacity: float = 1.0,
                 augment: bool = True, recipient_term: bool | str = True, keep_weight: bool = False) -> None:
        super().__init__()
        if not 0 <= opacity <= 1:
            raise ValueError(f'opacity={opacity} must lie in [0, 1]')
        if recipient_term not in (True, False, 'everywhere'):
            raise ValueError(f"recipient_term='{recipient_term}' must be True, False or 'everywhere'")
        self.donor, self.over, self.mask = donor, over, mask
        self.opacity, self.augment, self.recipient_term = opacity, augment, recipient_term
        self.keep_weight = keep_weight
        self.reads = (donor, over)

    def forward(self, step: Step) -> View:
        donor, over, mask = step.views[self.donor], step.views[self.over], step.masks[self.mask or '']
        if donor.image.shape != over.image.shape:
            raise ValueError(
                f"cannot paste '{self.donor}' {tuple(donor.image.shape)} over '{self.over}' "
                f'{tuple(over.image.shape)}: both need the same crop and batch size')
        return View(paste(donor.image, over.image, mask, self.opacity), self._targets(donor, over, mask),
                    _smaller_scale(donor.scale, over.scale))

    def _targets(self, donor: View, over: View, mask: Tensor) -> tuple[Target, ...]:
        if self.keep_weight:
            first, *others = over.targets
            return replace(_paste_target(donor.target, first, mask), weight=first.weight), *others
        single = len(donor.targets) == len(over.targets) == 1
        if single and self.opacity == 1:
            return (_paste_target(donor.target, over.target, mask),)
        if self.recipient_term is True:
            return _blend_targets(donor, over, mask, self.opacity)
        share = torch.full_like(over.target.weight, self.opacity)
        pasted = _paste_target(donor.target, over.target, mask).scaled(share)
        return (pasted, over.target.scaled(1 - share)) if self.recipient_term else (pasted,)


def _paste_target(donor: Target, over: Target, mask: Tensor) -> Target:
    region = mask[:, 0]
    probs = None
    if donor.probs is not None and over.probs is not None:
        probs = paste(donor.probs, over.probs, mask)
    significance = None
    if donor.significance is not None or over.significance is not None:
        significance = torch.where(region, donor.all_significance, over.all_significance)
    return Target(torch.where(region, donor.label, over.label),
                  torch.where(region, donor.weight, over.weight), probs, significance)


def _blend_targets(donor: View, over: View, mask: Tensor, opacity: float) -> tuple[Target, ...]:
    share = mask[:, 0].to(donor.targets[0].weight.dtype) * opacity
    return (*(target.scaled(share) for target in donor.targets), *(target.scaled(1 - share) for target in over.targets))


def _smaller_scale(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return torch.minimum(first, second)


@TRANSFORMS.register_module()
class Augmented(ViewBuilder):
    """A branch or view with the strong augmentation, and nothing pasted.

    Args:
        of: name of the branch or view.
        augment: True for the model's augmentation, or arguments of :class:`StrongAugment` for one of its own; False for
            none.
    """

    def __init__(self, of: str = 'target', augment: bool | Mapping[str, Any] = True) -> None:
        super().__init__()
        self.reads = (of,)
        self.settings = augment if isinstance(augment, Mapping) else None
        self.augment = augment is not False
        self._own: StrongAugment | None = None

    def bind(self, model: AdaptedModel) -> None:
        """Build the augmentation for the model's normalisation."""
        if self.settings is not None:
            images = model.data_preprocessor
            self._own = construct('augment', StrongAugment, self.settings, images.mean, images.std,
                                  images.channel_order)

    def augmentation(self) -> StrongAugment | None:
        return self._own

    def forward(self, step: Step) -> View:
        return replace(step.views[self.reads[0]], samples=None)


@TRANSFORMS.register_module()
class Relabelled(ViewBuilder):
    """The target with the label from which the contextual mask was cut: the prediction times the spatial prior.

    CAMix then learns each pasted pixel as the class as which it was selected:
    ``views=dict(relabelled=dict(type='Relabelled'), camix=dict(donor='relabelled'))``. The paper pastes the teacher's
    own label (Eq. 4).

    Args:
        mask: name of the contextual mask.
    """

    reads = ('target',)

    def __init__(self, mask: str = 'context') -> None:
        super().__init__()
        self.mask = mask

    def bind(self, model: AdaptedModel) -> None:
        """Raise unless the mask is contextual."""
        if not hasattr(model.masks[self.mask or ''], 'relations'):
            raise ValueError(f"Relabelled: mask='{self.mask}' must name a ContextMask")

    def forward(self, step: Step) -> View:
        view = step.views['target']
        assert step.context_label is not None
        ignored = view.target.label == step.ignore_index
        label = torch.where(ignored, view.target.label, step.context_label)
        return View(view.image, (replace(view.target, label=label),), view.scale)


@TRANSFORMS.register_module()
class Shuffled(ViewBuilder):
    """The same images in another order: each moves to the place of its successor.

    With it, images of one domain are mixed among themselves (naive ClassMix). A batch needs at least two images.
    """

    def __init__(self, of: str = 'target') -> None:
        super().__init__()
        self.reads = (of,)

    def forward(self, step: Step) -> View:
        view = step.views[self.reads[0]]
        if len(view.image) < 2:
            raise ValueError(f"mixing '{self.reads[0]}' images among themselves needs a batch of at "
                             'least 2 per process; raise train_dataloader.batch_size')
        targets = tuple(Target(t.label.roll(1, 0), t.weight.roll(1, 0), _rolled(t.probs), _rolled(t.significance))
                        for t in view.targets)
        return View(view.image.roll(1, 0), targets, _rolled(view.scale))


@TRANSFORMS.register_module()
class Switch(ViewBuilder):
    """One view until an iteration, another from then on (a warm-up).

    Args:
        before: the view before iteration ``at``.
        after: the view from then on.
        at: the iteration; 0 means ``after`` always.
    """

    def __init__(self, before: str, after: str, at: int = 0) -> None:
        super().__init__()
        self.before, self.after, self.at = before, after, at
        self.reads = (before, after)

    def reads_at(self, progress: Progress) -> tuple[str, ...]:
        return (self.before,) if progress.iteration < self.at else (self.after,)

    def forward(self, step: Step) -> View:
        return step.views[self.reads_at(step.progress)[0]]


def _rolled(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.roll(1, dims=0)


def strongly_augmented(view: View, augment: StrongAugment, step: Step) -> View:
    """The view with its image augmented; labels stay in place, because no augmentation moves pixels."""
    return replace(view, image=augment(view.image, generator=step.cpu_generator))
