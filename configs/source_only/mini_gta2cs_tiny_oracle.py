# The upper reference on the miniature benchmark: supervised by the labels of the target's training images.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RawCityscapesDataset',
            data_root=_base_.data_root + '/cityscapes',
            pipeline=[
                dict(type='LoadImage'),
                dict(type='LoadIdLabels'),
                dict(type='Resize', scale=(192, 96)),
                dict(type='RecordedRandomCrop', crop_size=_base_.crop_size, cat_max_ratio=0.75),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackUDAInputs'),
            ])))
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
