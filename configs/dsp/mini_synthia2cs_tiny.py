# DSP as published, SYNTHIA -> Cityscapes in miniature; see mini_gta2cs_tiny.py.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_synthia2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        donor=_base_.train_dataloader.dataset.source,
        rare=dict(
            type='LongTailDataset',
            classes=4,  # the K least frequent
            k=2,
            # The source, with crops that contain the drawn class.
            dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
                dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline]))))
model = dict(
    _delete_=True,
    type='DSP',
    segmentor=_base_.model,
    objectives=dict(align_patch=dict(features=1), align_global=dict(features=1)))
