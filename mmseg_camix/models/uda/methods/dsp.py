"""DSP."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import consistency, family, supervised


def _soft_paste(over: str) -> dict[str, object]:
    return dict(type='Paste', donor='patch', over=over, mask='patch', opacity=0.8)


@MODELS.register_module()
class DSP(UDASegmentor):
    """Dual soft paste: one patch of source pixels, pasted softly on a source and on a target image.

    The patch: half of the classes of a template image x_p, and over them the pixels of k long-tail classes (Algorithm
    1), with M its region. x_ps = beta M x_p + (1 - beta M) x_s (Eq. 2), x_pt likewise on x_t (Eq. 3). L = L_seg +
    L_seg_soft + L_cons + lambda_feature (L_paste + L_global) (Eq. 10):

    - ``source``: L_seg, the segmentor's own loss on x_s;
    - ``mixed_source``: L_seg_soft, at each pixel the patch's label weighted beta M and that of x_s weighted 1 - beta M
      (Eq. 6);
    - ``mixed_target``: L_cons, the same on x_pt with the teacher's label of x_t (Eq. 7);
    - ``align_patch``, ``align_global``: L_paste and L_global, the MMD of the student's features of x_ps and x_pt within
      the patch and everywhere (Eqs 8, 9).

    ``objectives=dict(align_patch=None)`` and the like remove one of them. beta is the ``opacity`` of the two views,
    lambda_feature the ``weight`` of the two alignments. The data set has two more branches: ``donor``, the template
    images, and ``rare``, a :class:`~mmseg_camix.datasets.LongTailDataset`, where k is set. Both mixed images pass
    through the student as one batch (``joint_views=()`` passes them one by one, as in the released code; batch
    statistics are then those of each domain).

    Reference: Gao et al., DSP: Dual Soft-Paste for Unsupervised Domain Adaptive Semantic Segmentation, ACM MM 2021.

    Deviations:
        See :class:`LongTailDataset` and :class:`FeatureMMD`. Released code: opacity .9; one long-tail class, pasted
        hard, drawn separately for the two images; L_cons without its second term (``recipient_term=False``); q on
        target pixels (``pseudo_labels=dict(weighted=True)``); lambda_feature .0001 at an early commit; void is one of
        the template's classes (``masks=dict(patch=dict(count_ignore=True))``). Ours: as the paper, all of it;
        ``configs/dsp/*_official.py`` are the code's. Both mixed images are augmented, each with its own draw (the paper
        says only that it jitters and blurs). The losses are means over all pixels, as in the family, where Eqs 5 to 7
        are sums. The student is tested, as in the code.
    """

    defaults = family(
        masks=dict(rare=dict(type='LabelledMask', of='rare'), patch=dict(type='PatchMask', of='donor', rare='rare')),
        views=dict(
            patch=dict(type='Paste', donor='rare', over='donor', mask='rare', augment=False),
            mixed_source=_soft_paste('source'),
            mixed_target=_soft_paste('target')),
        objectives=dict(
            source=supervised(),
            mixed_source=consistency('mixed_source'),
            mixed_target=consistency('mixed_target'),
            align_patch=dict(type='FeatureMMD', mask='patch', weight=0.005),
            align_global=dict(type='FeatureMMD', weight=0.005)),
        branches=('source', 'target', 'donor', 'rare'),
        pseudo_labels=dict(type='PseudoLabels', weighted=False),
        joint_views=(('mixed_source', 'mixed_target'),))
