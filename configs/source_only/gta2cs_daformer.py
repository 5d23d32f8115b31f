# MiT-B5 and the DAFormer head trained on GTA alone.
_base_ = '../_base_/gta2cs_daformer.py'
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
