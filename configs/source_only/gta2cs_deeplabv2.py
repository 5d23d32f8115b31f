# DeepLabV2 trained on GTA alone.
_base_ = '../_base_/gta2cs_deeplabv2.py'
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
