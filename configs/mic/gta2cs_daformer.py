# MIC on DAFormer, GTA -> Cityscapes: 70.6 mIoU in the paper (Table 1; DAFormer 68.3). As
# configs/daformer/gta2cs_daformer.py, with the masked view. Blocks have 32 pixels, half of those at full resolution.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/gta2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=0.5,
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='MIC',
    segmentor=_base_.model,
    # DAFormer's recipe; without these lines, that of DACS.
    masks=dict(classes=dict(pool='batch')),
    objectives=dict(features=dict(type='FeatureDistance')),
    pseudo_labels=dict(ignore_top=15, ignore_bottom=120),
    teacher=dict(alpha=0.999),
    augment=dict(jitter=0.2))
