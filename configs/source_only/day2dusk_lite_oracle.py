# The upper reference on photographs, CamVid by day -> dusk: supervised by the labels of the target's training images.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/day2dusk.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model, acceleration=_base_.acceleration)
train_dataloader = dict(dataset=dict(source=dict(conditions='dusk')))
