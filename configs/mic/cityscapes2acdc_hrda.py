# MIC on HRDA, Cityscapes -> ACDC: adaptation to adverse weather and night. HRDA has 68.0 mIoU on the test images, whose
# labels only the benchmark's server has. Between real domains the masked view is not augmented, and images have no
# margins without labels. The released code also masks one source image of each batch, in the place of a target image.
# Count first: mmseg-camix stats cityscapes data/cityscapes --split train
_base_ = [
    '../_base_/models/hrda_mitb5.py',
    '../_base_/datasets/cityscapes2acdc_1024.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/cityscapes/sample_class_stats.json',
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
    views=dict(masked=dict(augment=False)),
    objectives=dict(features=dict(type='FeatureDistance')),
    teacher=dict(alpha=0.999),
    augment=dict(jitter=0.2))
