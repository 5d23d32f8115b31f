# RCCR as its released GTA script computes it: the contrast would start after the end of the training, and its
# projector is never trained. `model.objectives.contrast.begin=0` starts it, as in the SYNTHIA script.
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
    masks=dict(
        classes=dict(count_ignore=True),
        square=dict(per='batch')),
    objectives=dict(
        contrast=dict(features=1, begin=300000, pool='batch', bank=2, weight=dict(power_of='elapsed'))),
    predict_with='student')
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=0.0, decay_mult=0.0))))
