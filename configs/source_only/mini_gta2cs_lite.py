# The lower reference on the miniature benchmark, from ImageNet weights.
_base_ = [
    '../_base_/models/lite_segformer_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model, acceleration=_base_.acceleration)
