# CAMix as published, from SYNTHIA. Build its prior first:
#   mmseg-camix prior configs/camix/mini_synthia2cs_tiny.py
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_synthia2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior='data/mini/priors/synthia.npz')))
