# DACS as its released code runs, GTA -> Cityscapes: SGD, 250k iterations of 2 + 2 images.
_base_ = '../_base_/gta2cs_deeplabv2.py'
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
