# Cityscapes -> ACDC (fog, night, rain, snow) as HRDA and MIC train: source at 2048x1024, target at 1920x1080, crops of
# 1024x1024, both flipped; evaluated on the validation images of all four conditions at their own size.
# For one condition: train_dataloader.dataset.target.conditions=night val_dataloader.dataset.conditions=night
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
            type='ACDCDataset',
            data_root=data_root + '/acdc',
            labels=False,  # they are never read
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ACDCDataset', data_root=data_root + '/acdc', split='val', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
