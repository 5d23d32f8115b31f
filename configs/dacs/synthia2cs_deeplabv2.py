# DACS as its released code runs, SYNTHIA -> Cityscapes: SGD, 250k iterations of 2 + 2 images.
_base_ = '../_base_/synthia2cs_deeplabv2.py'
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
