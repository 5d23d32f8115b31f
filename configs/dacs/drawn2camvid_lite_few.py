# DACS on photographs, drawn streets -> CamVid, with labels of 20 target images as a third branch: their supervised loss
# is added to each step. Another number: train_dataloader.dataset.few.spread=N.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/drawn2camvid.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='DACS',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    branches=['source', 'target', 'few'],
    objectives=dict(few=dict(type='SupervisedLoss', view='few')))
train_dataloader = dict(
    dataset=dict(
        few=dict(type='CamVidDataset', data_root=_base_.data_root, spread=20, pipeline=_base_.source_pipeline)))
