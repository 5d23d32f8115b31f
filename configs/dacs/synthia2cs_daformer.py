# DACS with the network and schedule of DAFormer, and none of its other parts.
_base_ = '../_base_/synthia2cs_daformer.py'
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
