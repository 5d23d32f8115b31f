# DeepLabV2 trained on SYNTHIA alone.
_base_ = '../_base_/synthia2cs_deeplabv2.py'
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
