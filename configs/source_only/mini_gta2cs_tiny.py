# The segmentor trained on the source only: the lower reference in every table.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
