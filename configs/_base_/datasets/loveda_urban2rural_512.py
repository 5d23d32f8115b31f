# LoveDA, urban -> rural (remote sensing, 0.3 m per pixel, 7 classes): images of 1024x1024 in the layout of the download
# (Train/Urban/images_png, masks_png, ...), crops of 512x512. A view from above has no upright direction: all flips.
data_root = 'data/loveda'
crop_size = (512, 512)
flip = dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal'])

source_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),  # 0 marks pixels without data
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
            type='LoveDADataset',
            data_root=data_root,
            data_prefix=dict(img_path='Train/Urban/images_png', seg_map_path='Train/Urban/masks_png'),
            pipeline=source_pipeline),
        target=dict(
            type='LoveDADataset',
            data_root=data_root,
            data_prefix=dict(img_path='Train/Rural/images_png'),  # labels are never read
            pipeline=target_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='LoveDADataset',
        data_root=data_root,
        data_prefix=dict(img_path='Val/Rural/images_png', seg_map_path='Val/Rural/masks_png'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='SubsetIoUMetric')
test_evaluator = val_evaluator
