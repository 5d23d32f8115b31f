# DACS with rare-class sampling of the source, and no other part of DAFormer.
_base_ = '../_base_/mini_gta2cs_tiny_rcs.py'
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
