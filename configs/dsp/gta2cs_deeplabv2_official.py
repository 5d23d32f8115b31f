# DSP as its released code computes it at its last commit (f90a6bb): lambda .005 as printed, the soft source loss a mean
# over labelled pixels, and what ../_base_/dsp_released.py lists.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
    '../_base_/dsp_released.py',
]
optim_wrapper = dict(constructor='ReleasedFamilyConstructor')  # steps the backbone three to four times
rare = dict(
    type='LongTailDataset',
    classes=('rider', 'bus', 'train', 'motorcycle', 'bicycle'),
    k=1,
    stats=_base_.data_root + '/gta/sample_class_stats.json',
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
        align_patch=dict(samples='images', shared_mask=True),
        align_global=dict(samples='images'),
        mixed_source=dict(normalise='valid')),
    **_base_.dsp_released)
