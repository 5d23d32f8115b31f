# RCCR with the network and schedule of DAFormer, and none of its other parts. The paper has DeepLabV2
# alone, whose last map has stride 8; here that is the second of four. The last one, 512 channels of
# stride 32: model.objectives.contrast.features=3.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/gta2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='RCCR', segmentor=_base_.model, objectives=dict(contrast=dict(features=1)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=10.0))))
