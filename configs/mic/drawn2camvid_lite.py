# MIC on DACS on photographs, drawn streets -> CamVid. Blocks are a sixteenth of the crop, as in the paper: 16 pixels.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/drawn2camvid.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='MIC', segmentor=_base_.model, acceleration=_base_.acceleration)
