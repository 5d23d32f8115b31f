# RCCR on photographs, CamVid by day -> dusk. The contrast compares cells of 8 pixels, the paper's stride.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/day2dusk.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='RCCR',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    objectives=dict(contrast=dict(features=1)))
# The projector begins with random weights, as the head does.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=5.0))))
