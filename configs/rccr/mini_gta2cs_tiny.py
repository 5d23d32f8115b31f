# RCCR as published, on the miniature benchmark. Its contrast is between cells of 8 pixels, the paper's
# stride, which the second stage has; the last one, the default, would see 3x3 cells of a crop.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='RCCR',
    segmentor=_base_.model,
    objectives=dict(contrast=dict(features=1)))
# The paper trains all but the backbone at ten times its rate. This network, trained from scratch, has
# one rate for all, and so has the projector.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=1.0))))
