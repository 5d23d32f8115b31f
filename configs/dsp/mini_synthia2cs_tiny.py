# DSP as published, SYNTHIA -> Cityscapes in miniature; see mini_gta2cs_tiny.py.
_base_ = '../_base_/mini_synthia2cs_tiny.py'
train_dataloader = dict(
    dataset=dict(
        donor=_base_.train_dataloader.dataset.source,
        rare=dict(
            type='LongTailDataset',
            classes=4,  # the K least frequent
            k=2,
            dataset=dict(
                type='SYNTHIADataset',
                data_root=_base_.data_root + '/synthia',
                pipeline=[
                    dict(type='LoadImage'),
                    dict(type='LoadIdLabels'),
                    dict(type='Resize', scale=(240, 142)),
                    dict(type='CropWithClass', crop_size=_base_.crop_size),
                    dict(type='RandomFlip', prob=0.5),
                    dict(type='PackUDAInputs'),
                ]))))
model = dict(
    _delete_=True,
    type='DSP',
    segmentor=_base_.model,
    objectives=dict(align_patch=dict(features=1), align_global=dict(features=1)))
