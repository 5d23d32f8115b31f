# DSP as its released code computes it at its last commit (f90a6bb): lambda .005 as printed, the soft source loss a mean
# over labelled pixels, and what ../_base_/dsp_released.py lists.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
    '../_base_/dsp_released.py',
]
rare = dict(
    type='LongTailDataset',
    classes=5,  # the K least frequent
    k=1,
    # The source, with crops that contain the drawn class.
    dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
        dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
        for step in _base_.train_dataloader.dataset.source.pipeline]))
train_dataloader = dict(
    dataset=dict(donor=_base_.train_dataloader.dataset.source, rare=rare, rare_target=rare))
del rare
model = dict(
    _delete_=True,
    type='DSP',
    segmentor=_base_.model,
    objectives=dict(
        align_patch=dict(features=1, samples='images', shared_mask=True),
        align_global=dict(features=1, samples='images'),
        mixed_source=dict(normalise='valid')),
    **_base_.dsp_released)
