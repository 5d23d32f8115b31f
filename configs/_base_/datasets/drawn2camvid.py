# Drawn streets -> CamVid: 500 labelled drawings in the style of GTA, 468 unlabelled photographs by day and at dusk,
# tested on the 233 others. The drawings, made by
#   mmseg-camix draw --out data/drawn --sets gta --height 256 --train 500 --val 0
# at 640x360, are squeezed to the format of the photographs, on which the prior of CAMix is laid.
data_root = 'data/camvid'
drawn_root = 'data/drawn'
crop_size = (256, 256)
# CamVid's classes, in its order, with Cityscapes' numbers.
drawn_classes = [
    ('sky', 23), ('building', [11, 12]), ('pole', 17), ('road', 7), ('pavement', 8), ('tree', [21, 22]),
    ('sign', [19, 20]), ('fence', 13), ('car', [26, 27, 28]), ('pedestrian', 24), ('bicyclist', [25, 32, 33]),
]

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
        source=dict(
            type='FolderDataset',
            data_root=drawn_root + '/gta',
            classes=drawn_classes,
            ignore='others',
            ann_file='train.txt',
            pipeline=source_pipeline),
        target=dict(type='CamVidDataset', data_root=data_root, labels=False, pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CamVidDataset', data_root=data_root, split='val', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
