# Without source on photographs, CamVid by day -> dusk.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/day2dusk.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
load_from = 'work_dirs/source_only/day2dusk_lite/iter_600.pth'
optim_wrapper = dict(optimizer=dict(lr=4e-6))  # a hundredth of the rate with a source
train_dataloader = dict(dataset=dict(source=None))
model = dict(_delete_=True, type='SourceFree', segmentor=_base_.model, acceleration=_base_.acceleration)
