# A training on custom data; docs/own_data.md shows how to add the folders.
_base_ = [
    './models/daformer_mitb0.py', './schedules/adamw_40k.py', './default_runtime.py', './uda.py'
]
crop_size = (512, 512)
# The shorter side becomes 512, whatever the aspect ratio, so that a crop always fits.
resize = dict(type='Resize', scale=(4096, 512), keep_ratio=True)
source_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    resize,
    dict(type='RecordedRandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImage'),
    resize,
    dict(type='RecordedRandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    resize,
    dict(type='LoadIdLabels'),  # after the resize: predictions are compared at the label's own size
    dict(type='PackUDAInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='PairedSampler'),
    collate_fn=dict(type='branch_collate'),
    dataset=dict(
        type='PairedDataset',
        source=dict(type='FolderDataset', pipeline=source_pipeline),
        target=dict(type='FolderDataset', labels=None, pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FolderDataset', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
