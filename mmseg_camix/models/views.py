"""Views: the images that the student sees, with what is asked of them.

A view reads branches of the data set (``source``, ``target``, ...) or other views. Image, label and
weight move together, so they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from mmseg.registry import TRANSFORMS
from torch import Tensor, nn

from mmseg_camix.ops.augment import StrongAugment
from mmseg_camix.ops.paste import paste

from .step import Progress, Step, Target, View


class ViewBuilder(nn.Module):
    """Base of all views: ``forward(step)`` gives a :class:`View`.

    Attributes:
        reads: names of the branches and views that it reads.
        mask: name of the mask that it uses, or None.
        augment: whether the result gets the strong augmentation.
    """

    reads: tuple[str, ...] = ()
    mask: str | None = None
    augment: bool = False

    def reads_at(self, progress: Progress) -> tuple[str, ...]:
        """What it reads at this point of the training."""
        return self.reads

    def forward(self, step: Step) -> View:
        raise NotImplementedError


@TRANSFORMS.register_module()
class Paste(ViewBuilder):
    """Pixels of ``donor`` within ``mask`` over ``over``: image, label, weight and significance.

    DACS pastes the source over the target; iDACS is the same with the two exchanged.

    Args:
        donor: where the pasted pixels come from.
        over: what they are pasted on.
        mask: the region of the donor, by its name in the table of masks.
        opacity: 1 pastes hard. Below 1 the images blend within the mask, and the view asks for both
            labels: the donor's with weight ``opacity`` and the recipient's with the rest.
        augment: whether the result gets the strong augmentation.
        recipient_term: without it a soft paste asks for the labels of a hard one, everywhere with
            weight ``opacity``, as the released DSP does on the target.
    """

    def __init__(self, donor: str, over: str, mask: str, opacity: float = 1.0,
                 augment: bool = True, recipient_term: bool = True) -> None:
        super().__init__()
        if not 0 <= opacity <= 1:
            raise ValueError(f'opacity={opacity} must lie in [0, 1]')
        self.donor, self.over, self.mask = donor, over, mask
        self.opacity, self.augment, self.recipient_term = opacity, augment, recipient_term
        self.reads = (donor, over)

    def forward(self, step: Step) -> View:
        donor, over, mask = step.views[self.donor], step.views[self.over], step.masks[self.mask]
        if donor.image.shape != over.image.shape:
            raise ValueError(
                f"cannot paste '{self.donor}' {tuple(donor.image.shape)} over '{self.over}' "
                f'{tuple(over.image.shape)}: both need the same crop and batch size')
        return View(paste(donor.image, over.image, mask, self.opacity), self._targets(donor, over, mask),
                    _least(donor.scale, over.scale))

    def _targets(self, donor: View, over: View, mask: Tensor) -> tuple[Target, ...]:
        single = len(donor.targets) == len(over.targets) == 1
        if single and self.opacity == 1:
            return (_paste_target(donor.target, over.target, mask),)
        if not self.recipient_term:
            target = _paste_target(donor.target, over.target, mask)
            return (target.scaled(torch.full_like(target.weight, self.opacity)),)
        return _blend_targets(donor, over, mask, self.opacity)


def _paste_target(donor: Target, over: Target, mask: Tensor) -> Target:
    region = mask[:, 0]
    probs = None
    if donor.probs is not None and over.probs is not None:
        probs = paste(donor.probs, over.probs, mask)
    significance = None
    if donor.significance is not None or over.significance is not None:
        significance = torch.where(region, _significance(donor), _significance(over))
    return Target(torch.where(region, donor.label, over.label),
                  torch.where(region, donor.weight, over.weight), probs, significance)


def _significance(target: Target) -> Tensor:
    return torch.ones_like(target.weight) if target.significance is None else target.significance


def _blend_targets(donor: View, over: View, mask: Tensor, opacity: float) -> tuple[Target, ...]:
    share = mask[:, 0].to(donor.targets[0].weight.dtype) * opacity
    return (*(target.scaled(share) for target in donor.targets),
            *(target.scaled(1 - share) for target in over.targets))


def _least(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return torch.minimum(one, other)


@TRANSFORMS.register_module()
class Augmented(ViewBuilder):
    """A branch or view with the strong augmentation, and nothing pasted.

    Args:
        of: what is augmented.
    """

    augment = True

    def __init__(self, of: str = 'target') -> None:
        super().__init__()
        self.reads = (of,)

    def forward(self, step: Step) -> View:
        return replace(step.views[self.reads[0]], samples=None)


@TRANSFORMS.register_module()
class Shuffled(ViewBuilder):
    """The same images in another order: each takes the place of the one before it.

    It lets images of one domain be mixed among themselves (naive ClassMix), and needs at least two
    images in a batch.

    Args:
        of: what is shuffled.
    """

    def __init__(self, of: str = 'target') -> None:
        super().__init__()
        self.reads = (of,)

    def forward(self, step: Step) -> View:
        view = step.views[self.reads[0]]
        if len(view.image) < 2:
            raise ValueError(f"mixing '{self.reads[0]}' images among themselves needs a batch of at "
                             'least 2 per process; raise train_dataloader.batch_size')
        targets = tuple(Target(*(_rolled(value) for value in (t.label, t.weight, t.probs, t.significance)))
                        for t in view.targets)
        return View(_rolled(view.image), targets, _rolled(view.scale))


@TRANSFORMS.register_module()
class Switch(ViewBuilder):
    """One view until an iteration, another from then on (a warm-up).

    Args:
        before: the view before it.
        after: the view from it on.
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
    """The view with its image augmented; labels stay where they are (nothing moves)."""
    return replace(view, image=augment(view.image, generator=step.cpu_generator))
