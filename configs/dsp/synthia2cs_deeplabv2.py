# DSP as published, SYNTHIA -> Cityscapes; see gta2cs_deeplabv2.py. Count the source's classes first:
#   mmseg-camix stats synthia data/synthia
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/synthia2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
optim_wrapper = dict(optimizer=dict(nesterov=True))
train_dataloader = dict(
    dataset=dict(
        donor=_base_.train_dataloader.dataset.source,
        rare=dict(
            type='LongTailDataset',
            classes=('wall', 'traffic light', 'bus', 'bicycle'),
            k=2,
            stats=_base_.data_root + '/synthia/sample_class_stats.json',
            # The source, with crops that contain the drawn class.
            dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
                dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline]))))
model = dict(_delete_=True, type='DSP', segmentor=_base_.model)
