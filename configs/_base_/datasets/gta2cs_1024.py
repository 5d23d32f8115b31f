# GTA -> Cityscapes as HRDA trains: source at 2560x1407 (as 2560x1440, with the aspect ratio kept), target at 2048x1024,
# crops of 1024x1024, both flipped; a source crop with more than 75 % of one class is drawn again. Evaluated at
# 2048x1024.
data_root = 'data'
crop_size = (1024, 1024)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(2560, 1440), keep_ratio=True),
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
        source=dict(type='GTADataset', data_root=data_root + '/gta', pipeline=source_pipeline),
        target=dict(
            type='RawCityscapesDataset',
            data_root=data_root + '/cityscapes',
            data_prefix=dict(img_path='leftImg8bit/train'),  # labels are never read
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RawCityscapesDataset',
        data_root=data_root + '/cityscapes',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
