# RCCR as published, on the miniature benchmark. It contrasts the decoder's map of 8-pixel cells, the
# paper's stride; that of 4 (features=2) makes a step five times as long on a CPU.
_base_ = '../_base_/mini_gta2cs_tiny.py'
model = dict(
    _delete_=True,
    type='RCCR',
    segmentor=_base_.model,
    objectives=dict(contrast=dict(features=1)))
# The paper trains all but the backbone at ten times its rate. This network, trained from scratch, has
# one rate for all, and so has the projector.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=1.0))))
