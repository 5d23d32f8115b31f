# Cityscapes -> Dark Zurich as HRDA and MIC train: source at 2048x1024, target (the night images of its training split)
# at 1920x1080, crops of 1024x1024, both flipped; evaluated on the 50 validation images at their own size.
data_root = 'data'
crop_size = (1024, 1024)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='RecordedRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='PackUDAInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='PairedSampler'),
    dataset=dict(
        type='PairedDataset',
        source=dict(
            type='RawCityscapesDataset', data_root=data_root + '/cityscapes', pipeline=source_pipeline),
        target=dict(
            type='RawDarkZurichDataset',
            data_root=data_root + '/dark_zurich',
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RawDarkZurichDataset',
        data_root=data_root + '/dark_zurich',
        data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
