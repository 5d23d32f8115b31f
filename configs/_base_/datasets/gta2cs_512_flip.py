# GTA -> Cityscapes as DAFormer trains: source at 1280x704 (1914x1052 with its aspect ratio kept), target at 1024x512,
# crops of 512x512, both flipped; a source crop with more than 75 % of one class is drawn again. Evaluated at 2048x1024.
data_root = 'data'
crop_size = (512, 512)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(1280, 704)),
    dict(type='RecordedRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(1024, 512)),
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(1024, 512)),
    dict(type='LoadIdLabels'),  # after the resize: predictions are compared at the label's own 2048x1024
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
