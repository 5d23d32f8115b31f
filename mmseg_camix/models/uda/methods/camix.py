"""CAMix."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import family, supervised


@MODELS.register_module()
class CAMix(UDASegmentor):
    """Context-aware mixup: target onto source, guided by context, on three levels.

    M = contextual mask of the target (spatial prior and meta-class relations, Algorithm 1, Eq. 1); X_M = M X_T + (1 -
    M) X_S (Eq. 2); Y_M = M argmax f'(X_T) + (1 - M) Y_S (Eq. 4); U_M = M U_T + (1 - M) 1 (Eq. 8) with U_T the
    significance mask (Eqs 5 to 7); L = L_seg + lambda sum(U_M CE(f(X_M), Y_M)) / sum(U_M) (Eqs 9 to 11), lambda as in
    DACS.

    The spatial prior is a file that tools/dataset/build_spatial_prior.py counts from the source's labels:
    ``masks=dict(context=dict(prior='data/mini/priors/gta.npz'))``. Without it the mask is only the arg-max.

    Reference: Zhou et al., Context-Aware Mixup for Domain Adaptive Semantic Segmentation, TCSVT 2022, and its first
    version.

    Deviations:
        See :class:`ContextMask`, :class:`SignificanceMask` and :class:`SignificanceCrossEntropy`. Released code:
        ClassMix from source to target for the first 110k (GTA) or 40k (SYNTHIA) iterations; ours: none,
        ``views=dict(mixed=dict(at=110000))`` is the code's. The teacher is tested, as in the paper.
    """

    defaults = family(
        masks=dict(
            context=dict(type='ContextMask', of='target', groups=('I', 'II')),
            classes=dict(type='ClassMask', of='source')),
        views=dict(
            camix=dict(type='Paste', donor='target', over='source', mask='context'),
            classmix=dict(type='Paste', donor='source', over='target', mask='classes'),
            mixed=dict(type='Switch', before='classmix', after='camix', at=0)),
        objectives=dict(source=supervised(), mixed=dict(type='SignificanceCrossEntropy', view='mixed')),
        pseudo_labels=dict(type='PseudoLabels', significance=dict(passes=8)),
        predict_with='teacher')
