# CAMix with DeepLabV2, GTA -> Cityscapes (TCSVT paper, section IV-B). Count its spatial prior first:
#   mmseg-camix prior configs/camix/gta2cs_deeplabv2.py --out data/priors/gta.npz
# The paper does not state the head's learning rate: ten times the backbone's, as in the released code.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=2.5e-4, betas=(0.9, 0.999), weight_decay=5e-5))
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior=_base_.data_root + '/priors/gta.npz')))
