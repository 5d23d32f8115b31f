# VFM-UDA++ with DINOv2-B, GTA -> Cityscapes: as gta2cs_dinov2_l.py, which lists the differences from the paper, with
# the smaller encoder and the learning rate of its released configuration. The frozen encoder is also DINOv2-L.
# Count first: mmseg-camix stats gta data/gta
_base_ = [
    '../_base_/models/daformer_dinov2_b.py',
    '../_base_/datasets/gta2cs_1024_vfm.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
    '../_base_/vfm_uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=2.0,  # of 1024x1024 pixels
            tries=20,
            dataset=_base_.train_dataloader.dataset.source)))
optim_wrapper = dict(
    optimizer=dict(lr=5e-5 * 8**0.5),  # the code's 5e-5 times the square root of the batch
    # A tenth for the encoder: the decay's first factor, .9, is that of the last block.
    paramwise_cfg=dict(_delete_=True, custom_keys={'backbone.network': dict(lr_mult=0.1 / 0.9)}, layer_decay=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=_base_.warm_up),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=0, end=_base_.max_iters),
]
model = dict(
    _delete_=True,
    type='DACS',
    segmentor=_base_.model,
    **_base_.vfm_uda)
