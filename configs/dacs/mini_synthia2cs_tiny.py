# DACS from SYNTHIA: classes of a source image over a target image.
_base_ = '../_base_/mini_synthia2cs_tiny.py'
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
