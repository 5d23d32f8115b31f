"""What DACS and CAMix are compared with in their papers."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import consistency, family, supervised


@MODELS.register_module()
class SourceOnly(UDASegmentor):
    """No adaptation: the segmentor trained on the source; the floor of every table."""

    defaults = dict(objectives=dict(source=supervised()))


@MODELS.register_module()
class PseudoLabelling(UDASegmentor):
    """Self-training without mixing (DACS paper, Table 3).

    The student is trained on the augmented target image with the teacher's arg-max; everything else as in DACS.
    """

    defaults = family(
        masks={}, views=dict(strong=dict(type='Augmented', of='target')),
        objectives=dict(source=supervised(), strong=consistency('strong')))


@MODELS.register_module()
class MeanTeacher(UDASegmentor):
    """Consistency of class distributions between student and teacher (Tarvainen & Valpola, 2017).

    The student predicts the augmented target image, the teacher the clean one; the loss is the squared difference of
    their softmax outputs. The base of the CAMix paper's Table IV.

    Deviations:
        Papers: the consistency of this baseline is not given in detail. Ours: squared difference with soft targets, as
        in the mean-teacher literature, without a confidence weight.
    """

    defaults = family(
        masks={}, views=dict(strong=dict(type='Augmented', of='target')),
        objectives=dict(source=supervised(), strong=dict(type='PixelMSE', view='strong')),
        pseudo_labels=dict(type='PseudoLabels', weighted=False))


def _cross_domain(mask: dict[str, object]) -> dict[str, object]:
    """Source pixels within a mask that does not depend on classes, over the target image."""
    return family(
        masks=dict(region=mask),
        views=dict(mixed=dict(type='Paste', donor='source', over='target', mask='region')),
        objectives=dict(source=supervised(), mixed=consistency('mixed')))


@MODELS.register_module()
class CutMix(UDASegmentor):
    """A box of the source over the target (CAMix paper, Table IV)."""

    defaults = _cross_domain(dict(type='BoxMask', of='source'))


@MODELS.register_module()
class CowMix(UDASegmentor):
    """A blotchy region of the source over the target (CAMix paper, Table IV)."""

    defaults = _cross_domain(dict(type='CowMask', of='source'))


@MODELS.register_module()
class NaiveClassMix(UDASegmentor):
    """ClassMix among target images, by their pseudo-labels (DACS paper, section 3.2).

    Needs at least two target images per process. With ``pseudo_labels=dict(align=dict(prior=...))`` it is the row
    "distribution alignment" of Table 3.
    """

    defaults = family(
        masks=dict(classes=dict(type='ClassMask', of='target')),
        views=dict(
            others=dict(type='Shuffled', of='target'),
            mixed=dict(type='Paste', donor='target', over='others', mask='classes')),
        objectives=dict(source=supervised(), mixed=consistency('mixed')))
