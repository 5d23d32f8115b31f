# SYNTHIA -> Cityscapes: source at 1280x760. 16 of the 19 classes have labels, and only they are averaged.
_base_ = './gta2cs_512.py'
synthia_pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadIdLabels'),
    dict(type='Resize', scale=(1280, 760), interpolation='bicubic', backend='pillow'),
    dict(type='RecordedRandomCrop', crop_size=_base_.crop_size),
    dict(type='PackUDAInputs'),
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True, type='SYNTHIADataset', data_root=_base_.data_root + '/synthia', pipeline=synthia_pipeline)))
val_evaluator = dict(type='SubsetIoUMetric', classes='synthia16',
                     subsets=dict(mIoU16='synthia16', mIoU13='synthia13'))
test_evaluator = val_evaluator
