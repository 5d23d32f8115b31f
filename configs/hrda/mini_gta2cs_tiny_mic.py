# HRDA with MIC, on the miniature benchmark: configs/hrda/mini_gta2cs_tiny.py with another method.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='MIC', segmentor=dict(_base_.model, type='HRDAEncoderDecoder'))
