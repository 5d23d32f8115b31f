"""RCCR."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import consistency, family, supervised


@MODELS.register_module()
class RCCR(UDASegmentor):
    """Regional contrastive consistency: DACS, and the features of a place agree across its surroundings.

    x_cut = m x_T + (1 - m) x_S with a square m (Eq. 3). The student's projected features of x_cut are pulled to the
    teacher's of x_T where m is 1, and pushed from other places (Eqs 4 to 8); L = L_CE + lambda L_cons + mu(t) L_cont
    (Eq. 9), L_cons and lambda = q as in DACS (its factor is ``objectives=dict(mixed=dict(weight=...))``), mu(t) = .01
    exp(-5 (1 - t/T)^.5).

    The parts of the paper's Table 3, as arguments of ``objectives=dict(contrast=...)``: RWC is the entry itself (None
    removes it), NS(R) ``negative_ratio=1.0``, NS(C) ``filter_class=False``, PS ``confidence=None`` and MB ``bank=0``
    switch theirs off.

    Reference: Zhou et al., Domain Adaptive Semantic Segmentation with Regional Contrastive Consistency Regularization,
    ICME 2022.

    Deviations:
        See :class:`RegionContrast` and :class:`SquareMask`. Released code: mu(t) = .01 exp(-5 (1 - (t/T)^.5)), which
        grows early; ours: as printed, ``weight=dict(power_of='elapsed')`` is the code's. The teacher is tested, as in
        the paper; the released script tests the student. The mixed image of the contrast is augmented as DACS's is, as
        in the code.
    """

    defaults = family(
        masks=dict(classes=dict(type='ClassMask', of='source'), square=dict(type='SquareMask', of='target')),
        views=dict(
            mixed=dict(type='Paste', donor='source', over='target', mask='classes'),
            cut=dict(type='Paste', donor='target', over='source', mask='square')),
        objectives=dict(
            source=supervised(),
            mixed=consistency('mixed'),
            contrast=dict(
                type='RegionContrast', view='cut',
                weight=dict(type='ExpRamp', start=0.0, end=0.01, gamma=-5.0, power=0.5))),
        predict_with='teacher')
