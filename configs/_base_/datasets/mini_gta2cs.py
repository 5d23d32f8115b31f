# GTA -> Cityscapes in miniature: the layout and encoding of the real sets at 0.1875 times their training size (make it
# with mmseg-camix draw).
data_root = 'data/mini'
crop_size = (96, 96)

source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(240, 135)),
    dict(type='RecordedRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(192, 96)),
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', scale=(192, 96)),
    dict(type='LoadIdLabels'),
    dict(type='PackUDAInputs'),
]
source_test_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='PackUDAInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='PairedSampler'),
    collate_fn=dict(type='branch_collate'),  # one tensor per branch is cheaper to pass to the main process
    dataset=dict(
        type='PairedDataset',
        source=dict(
            type='GTADataset',
            data_root=data_root + '/gta',
            ann_file='train.txt',
            pipeline=source_pipeline),
        target=dict(
            type='RawCityscapesDataset',
            data_root=data_root + '/cityscapes',
            data_prefix=dict(img_path='leftImg8bit/train'),  # labels are never read
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RawCityscapesDataset',
        data_root=data_root + '/cityscapes',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
# Held-out images of the source: `mmseg-camix test CONFIG CHECKPOINT --dataloader source_val_dataloader`.
source_val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='GTADataset',
        data_root=data_root + '/gta',
        ann_file='val.txt',
        test_mode=True,
        pipeline=source_test_pipeline))

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
