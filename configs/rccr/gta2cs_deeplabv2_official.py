# RCCR as its released GTA script computes it: the contrast would begin after the end of the training,
# and its projector stays as it was initialised.
_base_ = './gta2cs_deeplabv2.py'
model = dict(
    masks=dict(
        classes=dict(count_ignore=True),
        square=dict(per='batch')),
    objectives=dict(
        contrast=dict(begin=300000, pool='batch', bank=2, weight=dict(power_of='elapsed'))),
    predict_with='student')
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=0.0, decay_mult=0.0))))
