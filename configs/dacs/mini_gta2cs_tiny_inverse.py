# iDACS: predicted classes of a target image over a source image.
_base_ = '../_base_/mini_gta2cs_tiny.py'
model = dict(_delete_=True, type='iDACS', segmentor=_base_.model)
