# MiT-B5 and the DAFormer head trained on SYNTHIA alone.
_base_ = '../_base_/synthia2cs_daformer.py'
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
