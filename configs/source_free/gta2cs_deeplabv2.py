# Without source, GTA -> Cityscapes, with the network of the DACS family.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
load_from = 'work_dirs/source_only/gta2cs_deeplabv2/iter_250000.pth'
optim_wrapper = dict(optimizer=dict(lr=2.5e-6))  # a hundredth of the rate with a source
train_dataloader = dict(dataset=dict(source=None))
model = dict(_delete_=True, type='SourceFree', segmentor=_base_.model)
