# CAMix on the miniature benchmark, from ImageNet weights; as published, except that the significance is measured with
# three passes of the teacher, one of them the clean one, instead of eight. The prior is that of mini_gta2cs_tiny.py.
_base_ = [
    '../_base_/models/lite_segformer_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    masks=dict(context=dict(prior='data/mini/priors/gta.npz')),
    pseudo_labels=dict(significance=dict(passes=3, reuse_clean=True)))
