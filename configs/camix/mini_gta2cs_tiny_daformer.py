# CAMix on DAFormer's recipe, as gta2cs_daformer.py composes them, on the miniature benchmark and without
# the feature distance (see ../daformer/mini_gta2cs_tiny.py). Build the prior first:
#   python tools/dataset/build_spatial_prior.py configs/camix/mini_gta2cs_tiny.py --out data/mini/priors/gta.npz
_base_ = '../_base_/mini_gta2cs_tiny_rcs.py'
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior='data/mini/priors/gta.npz')),
    pseudo_labels=dict(ignore_top=3, ignore_bottom=22),
    teacher=dict(alpha=0.99))
