# CAMix on DAFormer, GTA -> Cityscapes: the best numbers of the paper. Count first:
#   mmseg-camix stats gta data/gta
#   mmseg-camix prior configs/camix/gta2cs_daformer.py --out data/priors/gta.npz
# From DAFormer: network, optimiser, rare-class sampling, feature distance, rows without labels. From CAMix: mixing,
# loss, alpha .99 and 90k iterations (section IV-B), and the augmentation of DACS.
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
max_iters = 90000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=_base_.warm_up),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=0, end=max_iters),
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior=_base_.data_root + '/priors/gta.npz')),
    objectives=dict(features=dict(type='FeatureDistance', weight=0.005)),
    pseudo_labels=dict(ignore_top=15, ignore_bottom=120),
    teacher=dict(alpha=0.99))
