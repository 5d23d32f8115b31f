# RCCR as its released SYNTHIA script computes it: the contrast from the first iteration, through a
# projector that stays as it was initialised.
_base_ = './synthia2cs_deeplabv2.py'
model = dict(
    masks=dict(
        classes=dict(count_ignore=True),
        square=dict(per='batch')),
    objectives=dict(contrast=dict(pool='batch', bank=2, weight=dict(power_of='elapsed'))),
    predict_with='student')
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=0.0, decay_mult=0.0))))
