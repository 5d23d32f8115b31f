# RCCR with the network and schedule of DAFormer, and none of its other parts. It contrasts the features of
# stride 8, as in the paper's DeepLabV2: the second of four maps. For the last map, 512 channels of stride 32:
# model.objectives.contrast.features=3.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/synthia2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='RCCR', segmentor=_base_.model, objectives=dict(contrast=dict(features=1)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=10.0))))
