# MIC on DACS, on the miniature benchmark. Blocks are a sixteenth of the crop, as in the paper: 6 pixels.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='MIC', segmentor=_base_.model)
