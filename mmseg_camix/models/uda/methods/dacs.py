"""DACS and its mirror image."""

from mmseg.registry import MODELS

from ..wrapper import UDASegmentor
from .parts import consistency, family, supervised


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

    defaults = family(
        masks=dict(classes=dict(type='ClassMask', of='source')),
        views=dict(mixed=dict(type='Paste', donor='source', over='target', mask='classes')),
        objectives=dict(source=supervised(), mixed=consistency('mixed')))


@MODELS.register_module()
class iDACS(UDASegmentor):
    """DACS with the domains exchanged: half of the predicted target classes over a source image.

    The inverse baseline of the CAMix paper (Table IV), on which CAMix builds.
    """

    defaults = family(
        masks=dict(classes=dict(type='ClassMask', of='target')),
        views=dict(mixed=dict(type='Paste', donor='target', over='source', mask='classes')),
        objectives=dict(source=supervised(), mixed=consistency('mixed')))
