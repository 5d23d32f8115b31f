# ISPRS Potsdam -> Vaihingen (remote sensing, 6 classes): tiles as mmseg's converters write them (img_dir, ann_dir).
# Vaihingen has infrared, red, green at 9 cm per pixel: convert Potsdam's 3_Ortho_IRRG, not its RGB images, for the same
# bands, and with --clip_size 910 --stride_size 455 for the same scale, since its pixels are 5 cm wide.
# A view from above has no upright direction: all flips.
data_root = 'data'
crop_size = (512, 512)
flip = dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal'])

source_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', scale=(512, 512)),  # from 910 pixels: 9 cm each
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    flip,
    dict(type='PackUDAInputs'),
]
target_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=crop_size),
    flip,
    dict(type='PackUDAInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
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
        source=dict(
            type='PotsdamDataset',
            data_root=data_root + '/potsdam',
            data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
            pipeline=source_pipeline),
        target=dict(
            type='ISPRSDataset',
            data_root=data_root + '/vaihingen',
            data_prefix=dict(img_path='img_dir/train'),  # labels are never read
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ISPRSDataset',
        data_root=data_root + '/vaihingen',
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
