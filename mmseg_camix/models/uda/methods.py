"""The methods: each fills the wrapper's tables with its paper's defaults."""

from mmseg.registry import MODELS

from .wrapper import UDASegmentor

Entries = dict[str, object]


def supervised() -> Entries:
    """L_seg: the segmentor's own losses on the source."""
    return dict(type='SupervisedLoss', view='source')


def consistency(view: str) -> Entries:
    """Cross-entropy with the (mixed) pseudo-labels, mean over all pixels."""
    return dict(type='PixelCrossEntropy', view=view)


def family(masks: Entries, views: Entries, objectives: Entries, **others: object) -> Entries:
    """The settings that the DACS family has in common: teacher, pseudo-labels, augmentation.

    alpha .99; confidence .968; colour jitter .25 with probability .8, blur with probability .5.
    """
    shared = dict(
        pseudo_labels=dict(type='PseudoLabels', threshold=0.968, per='batch', scope='target'),
        teacher=dict(alpha=0.99, norm='batch'),
        augment=dict(jitter=0.25, jitter_probability=0.8, blur_probability=0.5, blur_sigma=(0.15, 1.15)))
    return {**shared, 'masks': masks, 'views': views, 'objectives': objectives, **others}


def mixing(name: str, mask: Entries, donor: str = 'source', over: str = 'target', objectives: Entries | None = None,
           **others: object) -> Entries:
    """The family's settings with one mask, by its name, one mixed image, and its cross-entropy."""
    return family(
        masks={name: mask}, views=dict(mixed=dict(type='Paste', donor=donor, over=over, mask=name)),
        objectives=dict(source=supervised(), mixed=consistency('mixed'), **(objectives or {})), **others)


@MODELS.register_module()
class DACS(UDASegmentor):
    """Cross-domain mixed sampling: half of a source image's classes over a target image.

    M = pixels of ceil(n / 2) of the n classes in Y_S; X_M = M X_S + (1 - M) X_T; Y_M = M Y_S + (1 - M) argmax f'(X_T);
    L = L_CE(f(X_S), Y_S) + lambda L_CE(f(X_M), Y_M), with lambda = q, the share of target pixels whose confidence
    exceeds 0.968.

    Reference: Tranheden et al., DACS, WACV 2021.

    Deviations:
        Paper: q per image, on the whole mixed loss. Released code: q over the batch, on target pixels only. Ours: as
        the code (``pseudo_labels=dict(per='image', scope='view')`` is the paper's). Void is not a class of ClassMix
        (``masks=dict(classes=dict(count_ignore=True))`` is the code's). The student is tested, as in the code; the
        teacher is evaluated too.
    """

    defaults = mixing('classes', dict(type='ClassMask', of='source'))


@MODELS.register_module()
class iDACS(UDASegmentor):
    """DACS with the domains exchanged: half of the predicted target classes over a source image.

    The inverse baseline of the CAMix paper (Table IV), on which CAMix builds.
    """

    defaults = mixing('classes', dict(type='ClassMask', of='target'), 'target', 'source')


@MODELS.register_module()
class CAMix(UDASegmentor):
    """Context-aware mixup: target onto source, guided by context, on three levels.

    M = contextual mask of the target (spatial prior and meta-class relations, Algorithm 1, Eq. 1); X_M = M X_T + (1 -
    M) X_S (Eq. 2); Y_M = M argmax f'(X_T) + (1 - M) Y_S (Eq. 4); U_M = M U_T + (1 - M) 1 (Eq. 8) with U_T the
    significance mask (Eqs 5 to 7); L = L_seg + lambda sum(U_M CE(f(X_M), Y_M)) / sum(U_M) (Eqs 9 to 11), lambda as in
    DACS.

    The spatial prior is a file that mmseg-camix prior counts from the source's labels:
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


# Rows of a 512x512 crop of a 1024x512 image: the sky's border and the car's bonnet.
IGNORED_ROWS = dict(ignore_top=15, ignore_bottom=120)


def _daformer(donor: str, over: str) -> Entries:
    return mixing(
        'classes', dict(type='ClassMask', of=donor, pool='batch'), donor, over,
        objectives=dict(features=dict(type='FeatureDistance')),
        pseudo_labels=dict(type='PseudoLabels', threshold=0.968, per='batch', scope='target', **IGNORED_ROWS),
        teacher=dict(alpha=0.999, norm='batch'),
        augment=dict(jitter=0.2, jitter_probability=0.8, blur_probability=0.5, blur_sigma=(0.15, 1.15)))


@MODELS.register_module()
class DAFormer(UDASegmentor):
    """DACS with the recipe of DAFormer: feature distance, a slower teacher, rows without labels.

    L = L_CE(f(X_S), Y_S) + q L_CE(f(X_M), Y_M) + 0.005 L_FD. Its other parts belong to the network (DAFormerHead), to
    the data (``RareClassDataset`` as the source) and to the optimiser (warm-up).

    Any method takes these parts: ``objectives=dict(features=dict(type='FeatureDistance'))``,
    ``pseudo_labels=dict(ignore_top=15, ignore_bottom=120)``, ``teacher=dict(alpha=0.999)``,
    ``masks=dict(classes=dict(pool='batch'))``; ``objectives=dict(features=None)`` removes one.

    Reference: Hoyer et al., DAFormer, CVPR 2022.

    Deviations:
        Classes of ClassMix are drawn from the batch's set, as in the released code; the paper is silent. Void is not a
        class of ClassMix (see :class:`DACS`). The code re-initialises the teacher when a training is resumed; ours
        continues it. The source's loss is the segmentor's own: in the configs of DAFormer's network a mean over all
        pixels, as in its code, in those of DeepLabV2 a mean over labelled ones
        (``decode_head.loss_decode.avg_non_ignore``). The code moves the teacher before the optimiser's step, ours after
        it, so that theirs lags by half a step.
    """

    defaults = _daformer('source', 'target')


@MODELS.register_module()
class iDAFormer(UDASegmentor):
    """DAFormer with the domains exchanged: half of the predicted target classes over a source image.

    The inverse baseline of the CAMix paper (Table IV b).
    """

    defaults = _daformer('target', 'source')


@MODELS.register_module()
class MIC(UDASegmentor):
    """DACS with masked image consistency: the student also predicts target images of which 70 % are blanked.

    L = L_CE(f(X_S), Y_S) + q L_CE(f(X_M), Y_M) + q L_CE(f(B X_T'), Y_T), with X_T' the augmented target image (not the
    draw of X_M), B the blocks that are kept, and Y_T the teacher's labels of the whole image.

    Any method takes the masked view, for example CAMix: ``masks=dict(blocks=dict(type='BlockMask'))``,
    ``views=dict(masked=dict(type='Masked'))``, ``objectives=dict(masked=dict(type='PixelCrossEntropy',
    view='masked'))``.

    Reference: Hoyer et al., MIC: Masked Image Consistency for Context-Enhanced Domain Adaptation, CVPR 2023.

    Deviations:
        Paper: MIC on several methods, with DAFormer's recipe by default (``configs/mic/gta2cs_daformer.py``). Ours: on
        DACS by default. Masked source images, and a second teacher for the masked view, are options of the released
        code only.
    """

    defaults = family(
        masks=dict(
            classes=dict(type='ClassMask', of='source'),
            blocks=dict(type='BlockMask', of='target', ratio=0.7)),
        views=dict(
            mixed=dict(type='Paste', donor='source', over='target', mask='classes'),
            masked=dict(type='Masked', of='target', mask='blocks')),
        objectives=dict(source=supervised(), mixed=consistency('mixed'), masked=consistency('masked')))


def _soft_paste(over: str) -> Entries:
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
        hard, drawn separately for the two images, with the weight of the label below (``keep_weight=True``); L_seg_soft
        a mean over labelled pixels; L_cons without its second term (``recipient_term=False``); q on target pixels
        (``pseudo_labels=dict(weighted=True)``, without which it can end below source only:
        docs/real_photographs.md); lambda_feature .0001 at an early commit; void is one of
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


@MODELS.register_module()
class SourceFree(UDASegmentor):
    """Self-training on the target only, from a trained network (``load_from``): no source is read.

    L = L_CE(f(X_M), Y_M) + L_CE(f(B X_T'), Y_T), with X_M predicted classes of a target image over another one of the
    batch (:class:`NaiveClassMix`) and B X_T' the masked view of :class:`MIC`. Only the most confident half of the
    pixels of each class has a label of the teacher. The teacher is tested.

    Without labels nothing corrects an error that the network confirms to itself: trained too long or too fast, it gains
    first and then loses classes (docs/benchmark.md). What is known against that:

    - statistics of the target in the normalisation layers, here of each batch: most of the gain where domains differ in
      style (AdaBN: Li et al. 2017; TENT, Wang et al., ICLR 2021, trains nothing but these layers);
    - a slow teacher and few updates: without the source's loss, online self-training loses stability (Zhao et al.,
      Towards Better Stability and Adaptability, CVPR 2023). Train with a hundredth of the usual learning rate;
    - a share of each class instead of one threshold, which rare classes never reach (:class:`ClassQuota`);
    - predictions that must not change under augmentation, mixing and masking, so that a copy of the teacher is no
      solution;
    - agreement with the initial network, or with earlier ones (Huang et al., Historical Contrastive Learning, NeurIPS
      2021): ``objectives=dict(anchor=dict(type='InitialDivergence', view='masked'))``.

    Deviations:
        It is no published method but a composition of parts of others; q of the family is left out, because it
        scales the only loss there is.
    """

    defaults = family(
        masks=dict(classes=dict(type='ClassMask', of='target'), blocks=dict(type='BlockMask', of='target', ratio=0.7)),
        views=dict(
            others=dict(type='Shuffled', of='target'),
            mixed=dict(type='Paste', donor='target', over='others', mask='classes'),
            masked=dict(type='Masked', of='target', mask='blocks')),
        objectives=dict(mixed=consistency('mixed'), masked=consistency('masked')),
        branches=('target',),
        pseudo_labels=dict(type='PseudoLabels', weighted=False, quota=dict(share=0.5)),
        predict_with='teacher')


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


@MODELS.register_module()
class CutMix(UDASegmentor):
    """A box of the source over the target (CAMix paper, Table IV)."""

    defaults = mixing('region', dict(type='BoxMask', of='source'))


@MODELS.register_module()
class CowMix(UDASegmentor):
    """A blotchy region of the source over the target (CAMix paper, Table IV)."""

    defaults = mixing('region', dict(type='CowMask', of='source'))


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
