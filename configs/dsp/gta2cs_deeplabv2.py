# DSP as published, GTA -> Cityscapes. Count the source's classes first:
#   mmseg-camix stats gta data/gta
# The paper seems to have exchanged the learning rates of backbone and head. As printed:
#   --cfg-options optim_wrapper.optimizer.lr=2.5e-3 optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult=0.1
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
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
            classes=('rider', 'bus', 'train', 'motorcycle', 'bicycle'),
            k=2,
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            # The source, with crops that contain the drawn class.
            dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
                dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline]))))
model = dict(_delete_=True, type='DSP', segmentor=_base_.model)
