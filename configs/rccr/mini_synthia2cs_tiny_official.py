# RCCR as its released SYNTHIA script computes it: the contrast starts at once; its projector is never trained.
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
    masks=dict(
        classes=dict(count_ignore=True),
        square=dict(per='batch')),
    objectives=dict(
        contrast=dict(features=1, pool='batch', bank=2, weight=dict(power_of='elapsed'))),
    predict_with='student')
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=0.0, decay_mult=0.0))))
