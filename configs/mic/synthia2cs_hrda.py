# MIC on HRDA, SYNTHIA -> Cityscapes: 67.3 mIoU over 16 classes in the paper (Table 2; HRDA 65.8). As
# ../hrda/synthia2cs_hrda.py, with the masked view, whose blocks have 64 pixels (a sixteenth of the crop).
# Count first: mmseg-camix stats synthia data/synthia
_base_ = [
    '../_base_/models/hrda_mitb5.py',
    '../_base_/datasets/synthia2cs_1024.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/synthia/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=2.0,  # DAFormer's .5, times four: crops have four times the pixels
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='MIC',
    segmentor=_base_.model,
    # DAFormer's recipe; without these lines, that of DACS.
    masks=dict(classes=dict(pool='batch')),
    objectives=dict(features=dict(type='FeatureDistance')),
    # The borders of the image, not of the crop: 30 and 240 rows, 30 columns of 2048x1024.
    pseudo_labels=dict(
        margins=dict(top=30 / 1024, bottom=240 / 1024, left=30 / 2048, right=30 / 2048)),
    teacher=dict(alpha=0.999),
    augment=dict(jitter=0.2))
