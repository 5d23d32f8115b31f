# RCCR as published, on the miniature benchmark. The contrast compares cells of 8 pixels, the paper's stride, which the
# second stage has; the last stage, the default, has 3x3 cells per crop.
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
# The paper trains all but the backbone at ten times its rate. This network is trained from scratch with one rate for
# all parts, the projector included.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=1.0))))
