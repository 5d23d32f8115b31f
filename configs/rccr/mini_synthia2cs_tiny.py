# RCCR as published, SYNTHIA -> Cityscapes in miniature: the pair of the paper's Table 3.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_synthia2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='RCCR',
    segmentor=_base_.model,
    objectives=dict(contrast=dict(features=1)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=1.0))))
