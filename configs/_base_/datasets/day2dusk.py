# CamVid by day -> CamVid at dusk, in any of its layouts (docs/data.md): 406 labelled images, 62 unlabelled ones, tested
# on the other half of the dusk drive.
data_root = 'data/camvid'
crop_size = (256, 256)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(480, 360)),
    dict(type='RecordedRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(480, 360)),
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(480, 360)),
    dict(type='EvaluateAtResizedShape'),  # labels of 480x360 or 960x720
    dict(type='PackUDAInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='PairedSampler'),
    collate_fn=dict(type='branch_collate'),
    dataset=dict(
        type='PairedDataset',
        source=dict(type='CamVidDataset', data_root=data_root, conditions='day', pipeline=source_pipeline),
        target=dict(
            type='CamVidDataset', data_root=data_root, conditions='dusk', labels=False, pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        conditions='dusk',
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
