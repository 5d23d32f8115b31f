# GTA -> Cityscapes as the DACS family trains: source at 1280x720, target at 1024x512, crops of 512x512, no flip;
# evaluated at 1024x512.
data_root = 'data'
crop_size = (512, 512)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(1280, 720), interpolation='bicubic', backend='pillow'),
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(1024, 512), backend='pillow'),  # antialiased, as in the released code
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(1024, 512), backend='pillow'),
    dict(type='EvaluateAtResizedShape'),
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
