# Without source, on the miniature benchmark: the source-only network, adapted to the target by its own predictions.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
load_from = 'work_dirs/source_only/mini_gta2cs_tiny/iter_1200.pth'
optim_wrapper = dict(optimizer=dict(lr=5e-5))  # a hundredth of the rate with a source
train_dataloader = dict(dataset=dict(source=None))
model = dict(_delete_=True, type='SourceFree', segmentor=_base_.model)
