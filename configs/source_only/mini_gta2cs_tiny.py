# The segmentor trained on the source alone: the floor of every table.
_base_ = '../_base_/mini_gta2cs_tiny.py'
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
