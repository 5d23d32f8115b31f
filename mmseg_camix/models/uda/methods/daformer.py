"""DAFormer and its mirror image."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import consistency, family, supervised

# Rows of a 512x512 crop of a 1024x512 image: the sky's border and the car's bonnet.
IGNORED_ROWS = dict(ignore_top=15, ignore_bottom=120)


def _recipe(masks: dict[str, object], views: dict[str, object]) -> dict[str, object]:
    return family(
        masks=masks, views=views,
        objectives=dict(source=supervised(), mixed=consistency('mixed'), features=dict(type='FeatureDistance')),
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

    defaults = _recipe(
        masks=dict(classes=dict(type='ClassMask', of='source', pool='batch')),
        views=dict(mixed=dict(type='Paste', donor='source', over='target', mask='classes')))


@MODELS.register_module()
class iDAFormer(UDASegmentor):
    """DAFormer with the domains exchanged: half of the predicted target classes over a source image.

    The inverse baseline of the CAMix paper (Table IV b).
    """

    defaults = _recipe(
        masks=dict(classes=dict(type='ClassMask', of='target', pool='batch')),
        views=dict(mixed=dict(type='Paste', donor='target', over='source', mask='classes')))
